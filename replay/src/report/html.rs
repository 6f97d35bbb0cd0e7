//! The shell of a page and the escaping of what stands in it.
//!
//! Owns: [`escape`], the document around the sections, tables. Never: a figure. Invariants: a page
//! needs nothing from elsewhere (no script, no font, no picture), and says so to the browser; every
//! text goes through [`escape`].

use std::fmt::Write;

/// The page's looks.
const STYLE: &str = include_str!("page.css");

/// Text as it may stand between tags and in quoted attributes. Control characters, which HTML
/// cannot hold, and those that turn the direction of text become visible.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// A whole document. `body` is markup.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

/// One cell.
#[derive(Clone, Debug)]
pub enum Cell {
    Text(String),
    /// Right-aligned, in figures of one width.
    Figure(String),
    /// Small and of one width: paths, names in code.
    Code(String),
    /// A word in a coloured box: its class (`good`, `bad`, `warn`, `quiet`) and the word.
    Badge(&'static str, String),
    /// Markup of our own.
    Markup(String),
}

/// A table in a box that scrolls sideways where it must.
pub fn table(heads: &[&str], rows: &[Vec<Cell>]) -> String {
    let mut out = String::from("<div class=\"table\"><table><thead><tr>");
    let is_figure = |column: usize| {
        rows.first()
            .and_then(|row| row.get(column))
            .is_some_and(|cell| matches!(cell, Cell::Figure(_)))
    };
    for (column, head) in heads.iter().enumerate() {
        let class = if is_figure(column) { " class=\"figure\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = match cell {
                Cell::Text(text) => write!(out, "<td class=\"words\">{}</td>", escape(text)),
                Cell::Figure(text) => write!(out, "<td class=\"figure\">{}</td>", escape(text)),
                Cell::Code(text) => {
                    // a long one may break anywhere, a short one nowhere
                    let class = if text.len() > 40 { "long" } else { "short" };
                    write!(out, "<td><code class=\"{class}\">{}</code></td>", escape(text))
                }
                Cell::Badge(class, text) => {
                    write!(
                        out,
                        "<td class=\"narrow\"><span class=\"badge {class}\">{}</span></td>",
                        escape(text)
                    )
                }
                Cell::Markup(markup) => write!(out, "<td>{markup}</td>"),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A part of the page. `body` is markup; an empty one gives none.
pub fn section(title: &str, lead: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let lead = if lead.is_empty() {
        String::new()
    } else {
        format!("<p class=\"lead\">{}</p>", escape(lead))
    };
    format!("<section><h2>{}</h2>{lead}{body}</section>", escape(title))
}

/// A count with a thin space between thousands.
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// The same of a figure that is no whole number, and not below 0.
pub fn rounded(figure: f64) -> String {
    grouped(&format!("{:.0}", figure.abs()))
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A share as per cent with the digits that matter.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        it if !it.is_finite() => "none".to_owned(),
        it if it.abs() >= 10.0 || it.abs() < f64::EPSILON => format!("{it:.1} %"),
        it if it.abs() >= 0.1 => format!("{it:.2} %"),
        it => format!("{it:.4} %"),
    }
}

/// Seconds with a unit and three digits that matter.
pub fn seconds(value: f64) -> String {
    let (value, unit) = match value.abs() {
        it if it >= 1.0 => (value, "s"),
        it if it >= 1e-3 => (value * 1e3, "ms"),
        _ => (value * 1e6, "\u{b5}s"),
    };
    match value.abs() {
        it if !(f64::EPSILON..100.0).contains(&it) => format!("{value:.0} {unit}"),
        it if it >= 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

/// Seconds at a tick: round numbers without a fraction of noughts.
pub fn tick_seconds(value: f64) -> String {
    let text = seconds(value);
    let Some((figure, unit)) = text.split_once(' ') else { return text };
    let figure = if figure.contains('.') {
        figure.trim_end_matches('0').trim_end_matches('.')
    } else {
        figure
    };
    format!("{figure} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_comes_from_traffic_becomes_markup() {
        assert_eq!(
            escape("<script>\"a\" & 'b'\u{7}\u{202e}x\n"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\\x07\\u{202e}x "
        );
    }

    #[test]
    fn figures_have_units_and_few_digits() {
        let shown = [0.0, 0.000_012_3, 0.005_02, 0.080_123, 0.25, 1.5].map(seconds);
        assert_eq!(shown, ["0 \u{b5}s", "12.3 \u{b5}s", "5.02 ms", "80.1 ms", "250 ms", "1.50 s"]);
        assert_eq!(
            [0.0, 0.000_05, 0.005, 0.866].map(percent),
            ["0.0 %", "0.0050 %", "0.50 %", "86.6 %"]
        );
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        let ticks = [0.001, 0.01, 0.1, 0.000_2, 0.002_5].map(tick_seconds);
        assert_eq!(ticks, ["1 ms", "10 ms", "100 ms", "200 \u{b5}s", "2.5 ms"]);
        assert_eq!([0, 999, 1_000].map(count), ["0", "999", "1\u{202f}000"]);
    }
}
