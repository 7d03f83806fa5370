//! The page of the dashboard in HTML: one column on a phone, two on a desk. What peers and users wrote is escaped.

use std::fmt::Write as _;

use super::overview::{Link, Overview, Running, State, Viewer};
use crate::observe::series::Row;
use crate::text::{counted, escaped, human};

/// The whole page.
pub(super) fn whole(overview: &Overview, viewer: Viewer) -> String {
    let is_operator = viewer == Viewer::Operator;
    let mut main = String::new();
    main += &link(&overview.link, &overview.series);
    main += &saved(overview);
    main += &running(&overview.running, is_operator);
    if is_operator {
        main += &clients(overview);
        main += &sites(overview);
    }
    main += &failures(overview);
    let tools = if is_operator { TOOLS } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>bentpipe: link {state}</title>\n\
         <link rel=\"icon\" href=\"icon.svg\">\n\
         <link rel=\"stylesheet\" href=\"dashboard.css\">\n<link rel=\"stylesheet\" href=\"uplot.css\">\n\
         <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\n\
         <header><h1>bentpipe</h1><p class=\"soft\"><span id=\"since\">{version}, up {uptime}; {exchanges}</span>; \
         <a href=\"{home}\">set up a device</a></p></header>\n\
         <main id=\"live\">\n{main}</main>\n{tools}\
         <script src=\"uplot.js\" defer></script>\n<script src=\"dashboard.js\" defer></script>\n</html>\n",
        state = overview.link.state.text(),
        version = overview.version,
        uptime = span(overview.uptime),
        exchanges = counted(overview.exchanges, "request"),
        home = if is_operator { "http://bentpipe.local/" } else { "/" },
    )
}

fn section(id: &str, title: &str, content: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{title}</h2>\n{content}</section>\n"
    )
}

fn link(link: &Link, series: &[Row]) -> String {
    let meaning = match link.state {
        State::Open => "There is room on the link.",
        State::Busy => "The link is full: what is asked for now has to wait.",
        State::Down => "Nothing crosses the link. What is stored is still served.",
    };
    let mut figures = String::new();
    let lane = |used: u64, of: Option<u64>| {
        of.map_or_else(|| format!("{}/s", bits(used)), |of| format!("{}/s of {}/s", bits(used), bits(of)))
    };
    figure(&mut figures, "Down", &lane(link.down, link.rate_down));
    figure(&mut figures, "Up", &lane(link.up, link.rate_up));
    figure(&mut figures, "Waiting time", &format!("{} ms", link.queue_down_ms.max(link.queue_up_ms)));
    let carried = format!("{} down, {} up", human(link.total_down), human(link.total_up));
    figure(&mut figures, "Carried since the start", &carried);
    if link.out_of_reach > 0 {
        figure(&mut figures, "Sites out of reach", &link.out_of_reach.to_string());
    }
    let rows = serde_json::to_string(series).unwrap_or_default().replace('<', "\\u003c");
    let content = format!(
        "<p class=\"lamp {state}\" role=\"status\"><strong>Link {state}.</strong> {meaning} \
         <span class=\"soft\">({spec})</span></p>\n<dl>{figures}</dl>\n\
         <figure id=\"chart\" role=\"img\" aria-label=\"Use of the link in the last minutes: now {down}/s down, {up}/s up\"></figure>\n\
         <script type=\"application/json\" id=\"series\">{rows}</script>\n",
        state = link.state.text(),
        spec = escaped(&link.spec),
        down = bits(link.down),
        up = bits(link.up),
    );
    section("link", "Link", &content)
}

fn saved(overview: &Overview) -> String {
    let mut figures = String::new();
    figure(&mut figures, "Need not cross the link", &human(overview.saved));
    if let Some(money) = &overview.saved_money {
        figure(&mut figures, "Worth", money);
    }
    let [hits, revalidated] = overview.answered_in_a_hundred();
    let hits = format!("{hits} % hits, {revalidated} % revalidated");
    figure(&mut figures, "Answered from the cache", &hits);
    let bytes = format!("{} % of bytes", overview.stored_bytes_in_a_hundred());
    figure(&mut figures, "In bytes", &bytes);
    let cache = &overview.cache;
    let held = format!(
        "{}, {} of {}",
        counted(cache.objects as u64, "response"),
        human(cache.bytes),
        human(cache.limit)
    );
    figure(&mut figures, "Held", &held);
    section("saved", "Saved", &format!("<dl>{figures}</dl>\n"))
}

fn figure(figures: &mut String, name: &str, value: &str) {
    let _ = write!(figures, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(value));
}

/// A table with these columns, or what is said in place of an empty one.
fn table(columns: &[&str], rows: &[Vec<String>], none: &str) -> String {
    if rows.is_empty() {
        return format!("<p class=\"soft\">{none}</p>\n");
    }
    let mut table = String::from("<div class=\"scroll\"><table><thead><tr>");
    for column in columns {
        let _ = write!(table, "<th scope=\"col\">{column}</th>");
    }
    table += "</tr></thead><tbody>\n";
    for row in rows {
        table += "<tr>";
        for (column, cell) in columns.iter().zip(row) {
            let _ = write!(table, "<td data-name=\"{column}\">{cell}</td>");
        }
        table += "</tr>\n";
    }
    table + "</tbody></table></div>\n"
}

fn running(running: &[Running], may_stop: bool) -> String {
    let each = |one: &Running| {
        let got = one.announced.map_or_else(
            || match (one.bytes, one.bytes_up) {
                (0, 1..) => format!("{} up", human(one.bytes_up)),
                (_, 1..) => format!("{}, and {} up", human(one.bytes), human(one.bytes_up)),
                _ => human(one.bytes),
            },
            |announced| {
                format!(
                    "{} of {} <progress aria-label=\"What has arrived\" max=\"{announced}\" value=\"{}\"></progress>",
                    human(one.bytes),
                    human(announced),
                    one.bytes.min(announced)
                )
            },
        );
        let left = one.eta.map_or_else(String::new, span);
        let mut row =
            vec![escaped(&one.client), format!("{} {}", escaped(&one.method), escaped(&one.url)), got, left];
        if may_stop {
            // A list of buttons that are all called Stop says nothing to whoever hears it.
            let what = escaped(&one.url);
            row.push(format!(
                "<button type=\"button\" data-stop=\"{}\" aria-label=\"Stop {what}\">Stop</button>",
                one.number
            ));
        }
        row
    };
    let rows: Vec<_> = running.iter().map(each).collect();
    let columns = ["Client", "What", "So far", "Time left", "Action"];
    section("running", "Under way", &table(&columns[..4 + usize::from(may_stop)], &rows, "Nothing."))
}

fn clients(overview: &Overview) -> String {
    let rows = overview.clients.iter().map(|one| vec![escaped(&one.client), human(one.down), human(one.up)]);
    let rows: Vec<_> = rows.collect();
    section("clients", "Who used the link", &table(&["Client", "Down", "Up"], &rows, "Nobody yet."))
}

fn sites(overview: &Overview) -> String {
    let each = overview.sites.iter().map(|one| {
        let site = &one.site;
        // A site that was only reached through tunnels, or not at all, had nothing to answer.
        let hits =
            if site.requests == 0 { "-".to_owned() } else { format!("{} of {}", site.hits, site.requests) };
        vec![escaped(&one.host), hits, human(site.client_bytes), human(site.link_bytes)]
    });
    let rows: Vec<_> = each.collect();
    let columns = ["Site", "Hits", "To clients", "Over the link"];
    section("sites", "Sites", &table(&columns, &rows, "None yet."))
}

fn failures(overview: &Overview) -> String {
    let each = overview.failures.iter().map(|one| {
        let ago = (overview.time - one.time).max(0.0).round();
        let why = one.reason.as_deref().unwrap_or(&one.error);
        let status = one.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        vec![
            format!("{ago} s ago"),
            escaped(&one.client),
            format!("{} {}", escaped(&one.method), escaped(&one.url)),
            format!("{status}: {}", escaped(why)),
        ]
    });
    let rows: Vec<_> = each.collect();
    section("failures", "Errors of late", &table(&["When", "Client", "What", "Why"], &rows, "None."))
}

/// What only whoever looks after the proxy has: the cache, searched, explained and purged.
const TOOLS: &str = "<section id=\"cache\" aria-labelledby=\"cache-title\"><h2 id=\"cache-title\">Cache</h2>\n\
<form id=\"search\" aria-labelledby=\"cache-title\"><label for=\"url\">URL, or the beginning of one</label>\n\
<div class=\"row\"><input id=\"url\" name=\"url\" type=\"text\" inputmode=\"url\" autocomplete=\"off\" placeholder=\"http://\">\n\
<button name=\"do\" value=\"list\">Search</button><button name=\"do\" value=\"explain\">Explain</button>\
<button name=\"do\" value=\"purge\">Purge</button></div></form>\n\
<noscript><p class=\"soft\">This part needs JavaScript; <code>bentpipe cache</code> and <code>bentpipe explain</code> do the same.</p></noscript>\n\
<pre id=\"found\" role=\"log\" aria-live=\"polite\" hidden></pre></section>\n";

/// Bits as people read them.
fn bits(bits: u64) -> String {
    human(bits).replace('B', "bit")
}

/// A span of time as people read it, from seconds.
fn span(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds / 60),
        6_000..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(
            (bits(512_000), bits(0), bits(1_500_000)),
            ("512 kbit".into(), "0 bit".into(), "1.5 Mbit".into())
        );
        assert_eq!(
            (span(5), span(600), span(7_200), span(1_000_000)),
            ("5 s".into(), "10 min".into(), "2 h".into(), "11 days".into())
        );
    }

    #[test]
    fn what_a_peer_wrote_is_text() {
        let cell = table(&["A"], &[vec![escaped("<script>")]], "None.");
        assert!(cell.contains("&lt;script&gt;") && !cell.contains("<script>"), "{cell}");
        assert_eq!(table(&["A"], &[], "None."), "<p class=\"soft\">None.</p>\n");
    }

    #[test]
    fn every_control_says_what_it_is_for() {
        let one = || Running {
            number: 7,
            client: "192.0.2.1".into(),
            method: "GET".into(),
            url: "http://a.example/\"x".into(),
            bytes: 5,
            bytes_up: 0,
            announced: Some(10),
            duration_ms: 0,
            eta: None,
        };
        let shown = running(&[one()], true);
        assert!(shown.contains("aria-label=\"Stop http://a.example/&quot;x\""), "{shown}");
        assert!(shown.contains("<progress aria-label="), "{shown}");
        let upload = Running { bytes: 0, bytes_up: 7_000, announced: None, ..one() };
        assert!(running(&[upload], true).contains(">7 kB up<"));
    }
}
