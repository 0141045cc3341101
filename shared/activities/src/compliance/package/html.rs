//! The page that people open: what is in a package, without any other file or connection.

use serde_json::Value;

use super::manifest::{NotRead, SourceEntry};
use super::table::{Row, text};
use super::{Entry, table};

/// Things of a type, and files, that the page shows; the other files of the package have all of them.
pub(in super::super) const MAX_SHOWN: usize = 100;

/// The file's name.
pub(in super::super) const INDEX: &str = "index.html";

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Your data</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --quiet: #777; --accent: #2563eb; --alert: #b45309; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h2::first-letter, dt::first-letter { text-transform: uppercase; }
h2 small { font-weight: normal; color: var(--quiet); margin-left: .5rem; }
p.lead { color: var(--quiet); margin: 0 0 1.5rem; }
a { color: var(--accent); }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .3rem 1.25rem; margin: 0; }
dt { color: var(--quiet); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.card { border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1.1rem; margin: .75rem 0; background: var(--soft); }
.card p { margin: 0 0 .5rem; color: var(--quiet); }
.alert { border-left: 4px solid var(--alert); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
@media print { body { max-width: none; padding: 0; } .card { break-inside: avoid; } }
</style>
</head>
<body>
"#;

/// What the page begins with: whose data it is, how much there is of it, and what is missing.
pub(in super::super) fn beginning(
    facts: &[(&str, &str)],
    earlier_packages: &[&str],
    sources: &[SourceEntry],
    not_read: &[NotRead],
) -> String {
    let mut page = HEAD.to_owned();
    let what = if not_read.is_empty() { "Everything" } else { "What could be read" };
    page += &format!("<h1>Your data</h1>\n<p class=\"lead\">{what} of the categories below that is kept of you. ");
    page += "The JSON and CSV files beside this page have all of it, for programs and for spreadsheets.</p>\n<dl>\n";
    for (name, value) in facts {
        page += &term(name, value);
    }
    page += "</dl>\n";
    if !earlier_packages.is_empty() {
        page += &format!(
            "<div class=\"card\">Some of the files are in {}: unpack all of them into one folder.</div>\n",
            escaped(&earlier_packages.join(", "))
        );
    }
    if !not_read.is_empty() {
        page += "<div class=\"card alert\"><strong>Some of it is missing.</strong> These could not be read:<dl>\n";
        for missing in not_read {
            let what = match missing.ids.len() {
                0 => titled(&missing.entity_type),
                some => format!("{some} of {}", titled(&missing.entity_type)),
            };
            page += &term(&format!("{} {what}", missing.service), &missing.error);
        }
        page += "</dl></div>\n";
    }
    page += "<h2>What there is</h2>\n<div class=\"scroll\"><table>\n<tr><th>Service</th><th>What</th>\
             <th class=\"n\">Yours</th><th class=\"n\">Mention you</th><th>Files</th></tr>\n";
    for source in sources {
        let files: Vec<String> = source.files.iter().map(|path| link(path, extension(path))).collect();
        page += &format!(
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            escaped(&source.service),
            escaped(&titled(&source.entity_type)),
            source.records,
            source.mentions,
            files.join(" "),
        );
    }
    page + "</table></div>\n"
}

/// A table of a page.
pub(in super::super) struct PageTable<'a> {
    pub(in super::super) title: &'a str,
    /// The names of its columns.
    pub(in super::super) columns: &'a [&'a str],
    pub(in super::super) rows: Vec<Vec<String>>,
}

/// A page with facts and tables. A table without rows is left out.
pub(in super::super) fn page_of(
    title: &str,
    lead: &str,
    facts: &[(&str, String)],
    tables: &[PageTable<'_>],
    end: &str,
) -> String {
    let mut page = HEAD.replace("<title>Your data</title>", &format!("<title>{}</title>", escaped(title)));
    page += &format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<dl>\n", escaped(title), escaped(lead));
    for (name, value) in facts {
        page += &term(name, value);
    }
    page += "</dl>\n";
    for PageTable { title, columns, rows } in tables.iter().filter(|table| !table.rows.is_empty()) {
        let cells = |row: &[String], of: &str| -> String {
            row.iter().map(|cell| format!("<{of}>{}</{of}>", escaped(cell))).collect()
        };
        let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        page +=
            &format!("<h2>{}</h2>\n<div class=\"scroll\"><table>\n<tr>{}</tr>\n", escaped(title), cells(&names, "th"));
        for row in rows {
            page += &format!("<tr>{}</tr>\n", cells(row, "td"));
        }
        page += "</table></div>\n";
    }
    page + &format!("<p>{}</p>\n</body>\n</html>\n", escaped(end))
}

/// The heading of a data set.
pub(in super::super) fn heading(source: &SourceEntry) -> String {
    let (what, service) = (escaped(&titled(&source.entity_type)), escaped(&source.service));
    format!("<h2>{what}<small>{service}, {} in all</small></h2>\n", source.records + source.mentions)
}

/// A thing or an entry. Columns without a value are left out.
pub(in super::super) fn card(line: &impl Row, columns: &[String]) -> String {
    let mut card = "<div class=\"card\"><dl>\n".to_owned();
    // That it is the person's own goes without saying, and its id is among its fields.
    let is_own = line.value(table::ABOUT) == "person";
    let implied = |column: &str| is_own && [table::ABOUT, table::ID].contains(&column);
    for column in columns.iter().filter(|column| !implied(column)) {
        let value = shown(&line.value(column));
        if !value.is_empty() {
            card += &term(column.trim_matches(['(', ')']), &value);
        }
    }
    card + "</dl></div>\n"
}

/// A list of files with their bytes.
pub(in super::super) fn files(entries: &[Entry]) -> String {
    let mut list = "<div class=\"scroll\"><table>\n<tr><th>File</th><th class=\"n\">Bytes</th></tr>\n".to_owned();
    for entry in entries {
        let name = entry.path.rsplit('/').next().unwrap_or_default();
        list += &format!("<tr><td>{}</td><td class=\"n\">{}</td></tr>\n", link(&entry.path, name), entry.bytes);
    }
    list + "</table></div>\n"
}

/// Tells that the page does not show all.
pub(in super::super) fn more(shown: usize, all: u64) -> String {
    match all.saturating_sub(shown as u64) {
        0 => String::new(),
        more => format!("<p>{more} more are in the files.</p>\n"),
    }
}

/// What the page ends with.
pub(in super::super) const END: &str = "</body>\n</html>\n";

/// A value as people read it: an entry of an object is a line.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let lines: Vec<String> = members.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
            lines.join("\n")
        }
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => text(other),
    }
}

fn term(name: &str, value: &str) -> String {
    format!("<dt>{}</dt><dd>{}</dd>\n", escaped(&titled(name)), escaped(value))
}

/// `profile_copy` as `profile copy`.
fn titled(name: &str) -> String {
    name.replace('_', " ")
}

fn extension(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// A link to a file of the package.
fn link(path: &str, shown: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let encoded: String = path
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("<a href=\"{encoded}\">{}</a>", escaped(shown))
}

/// Text that is nothing but text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compliance::lines::{About, ThingLine};

    #[test]
    fn nothing_of_a_value_is_markup() {
        let hostile = "<script>alert('x')</script>\"&";
        let line = ThingLine { id: hostile.to_owned(), about: About::Mention, data: json!({ hostile: hostile }) };
        let source = SourceEntry {
            service: hostile.to_owned(),
            entity_type: hostile.to_owned(),
            categories: Vec::new(),
            records: 1,
            mentions: 0,
            files: vec![format!("data/{hostile}.json")],
            fields_not_exported: Vec::new(),
        };
        let missing = NotRead {
            service: hostile.to_owned(),
            entity_type: hostile.to_owned(),
            error: hostile.to_owned(),
            ids: Vec::new(),
        };
        let entry =
            Entry { path: format!("files/{hostile}"), bytes: 1, sha256: String::new(), records: None, id: None };
        let columns = [table::ID.to_owned(), hostile.to_owned()];
        let sources = [source];
        let page = beginning(&[(hostile, hostile)], &[hostile], &sources, &[missing])
            + &heading(&sources[0])
            + &card(&line, &columns)
            + &files(&[entry]);
        assert!(!page.contains("<script") && !page.contains("alert('x')"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"), "{page}");
        assert!(page.contains("href=\"files/%3Cscript%3E"), "{page}");
    }
}
