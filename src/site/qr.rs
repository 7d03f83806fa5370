//! A text as a QR code (ISO/IEC 18004) in SVG, for a phone's camera.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

/// The clear border that readers want, in modules.
const BORDER: usize = 4;

/// The code of `text`; none if it is longer than a code can be.
pub(super) fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let side = width + 2 * BORDER;
    let mut path = String::new();
    for (position, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let _ = write!(path, "M{} {}h1v1h-1z", position % width + BORDER, position / width + BORDER);
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path fill=\"#000\" d=\"{path}\"/></svg>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_marks_and_its_border() {
        let svg = svg("http://192.0.2.1:3128/ca").expect("a code");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        // The corners of the three marks, behind the border; the fourth corner has none.
        assert!(svg.contains("viewBox=\"0 0 33 33\"") && svg.contains("M4 4h1v1h-1z"), "{svg}");
        assert!(svg.contains("M28 4h1") && svg.contains("M4 28h1"), "{svg}");
        assert!(!svg.contains("M3 ") && !svg.contains("M29 "), "{svg}");
        assert_eq!(super::svg(&"a".repeat(10_000)), None);
    }
}
