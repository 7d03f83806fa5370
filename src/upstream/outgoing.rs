//! A request on its way out: what it is made of. A request that was sent is gone, so each attempt makes one anew.

use http::header::{PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body as _;

use crate::body::RequestBody;

/// What requests to an origin are made of.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    /// In origin-form or asterisk-form; for a parent in absolute-form.
    pub(crate) target: Uri,
    /// The fields, its Host among them.
    pub(crate) fields: &'a (dyn Fn() -> HeaderMap + Send + Sync),
    /// Whether they ask to switch to another protocol.
    pub(crate) is_upgrade: bool,
    /// Content is there once: none is left when it was sent.
    pub(crate) body: RequestBody,
    /// What a parent is told of who we are.
    pub(super) authorization: Option<HeaderValue>,
}

impl<'a> Outgoing<'a> {
    /// What requests without content are made of.
    pub(crate) fn new(
        method: Method,
        target: Uri,
        fields: &'a (dyn Fn() -> HeaderMap + Send + Sync),
    ) -> Self {
        let body = RequestBody::default();
        Self { method, target, fields, is_upgrade: false, body, authorization: None }
    }

    /// A request as this hop sends it, with the content.
    pub(super) fn take(&mut self) -> Request<RequestBody> {
        let mut request = Request::new(std::mem::take(&mut self.body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.version_mut() = Version::HTTP_11;
        let mut fields = (self.fields)();
        if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
            // hyper takes a GET without framing for one without content.
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if let Some(authorization) = &self.authorization {
            fields.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        *request.headers_mut() = fields;
        request
    }

    /// A request was not sent: here is its content again.
    pub(super) fn put_back(&mut self, request: Request<RequestBody>) {
        self.body = request.into_body();
        self.body.count_to(None);
    }
}
