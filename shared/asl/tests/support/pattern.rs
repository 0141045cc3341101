//! Expected values with holes, as the recorded cases write them: `$any`, `$like`, `$json`.

use serde_json::Value;

/// Whether the value matches the pattern; where it does not, otherwise.
pub fn compare(pattern: &Value, value: &Value) -> Result<(), String> {
    let differs = || Err(String::new());
    let below = |name: &str| {
        let name = name.to_owned();
        move |at: String| format!("/{name}{at}")
    };
    match (pattern, value) {
        (Value::Object(object), _) if object.len() == 1 && object.contains_key("$any") => Ok(()),
        (Value::Object(object), _) if object.len() == 1 && object.contains_key("$like") => {
            let pieces: Vec<_> = object["$like"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if value.as_str().is_some_and(|text| is_like(&pieces, text)) { Ok(()) } else { differs() }
        }
        (Value::Object(object), _) if object.len() == 1 && object.contains_key("$json") => {
            match value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
                Some(value) => compare(&object["$json"], &value),
                None => differs(),
            }
        }
        (Value::Object(pattern), Value::Object(value)) => {
            for (name, wanted) in pattern {
                match value.get(name) {
                    Some(found) => compare(wanted, found).map_err(below(name))?,
                    None if wanted.get("$any").is_some() => {}
                    None => return Err(format!("/{name} (missing)")),
                }
            }
            match value.keys().find(|name| !pattern.contains_key(*name)) {
                Some(name) => Err(format!("/{name} (not expected)")),
                None => Ok(()),
            }
        }
        (Value::Array(pattern), Value::Array(value)) if pattern.len() == value.len() => {
            for (index, (wanted, found)) in pattern.iter().zip(value).enumerate() {
                compare(wanted, found).map_err(below(&index.to_string()))?;
            }
            Ok(())
        }
        (Value::Number(wanted), Value::Number(found)) if wanted.as_f64() == found.as_f64() => Ok(()),
        (Value::String(wanted), Value::String(found)) if unnumbered(wanted) == unnumbered(found) => Ok(()),
        (wanted, found) if wanted == found => Ok(()),
        _ => differs(),
    }
}

fn is_like(pieces: &[&str], text: &str) -> bool {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return false;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for piece in &pieces[1..pieces.len().max(2) - 1] {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    pieces.len() == 1 || rest.ends_with(last)
}

/// The number of a history event in a cause is AWS's own.
fn unnumbered(text: &str) -> String {
    let mut parts = text.split("event id #");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "event id #N" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}
