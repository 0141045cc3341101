//! The functions that the Amazon States Language adds to JSONata.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html>

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use jlens_core::{Bindings, Error, HostFunction};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::random::Random;

/// Items of `$range` at most: AWS's own limit.
const MAX_RANGE_ITEMS: usize = 1_000;

type Arguments<'a> = &'a [Option<Value>];
type Answer = Result<Option<Value>, Error>;
type Pure = fn(Arguments<'_>) -> Answer;

static PURE: LazyLock<Bindings> = LazyLock::new(|| {
    let functions: [(&str, usize, Pure); 5] =
        [("partition", 2, partition), ("range", 3, range), ("hash", 2, hash), ("parse", 1, parse), ("eval", 1, eval)];
    functions.into_iter().fold(Bindings::new(), |bindings, (name, arity, function)| {
        bindings.function(name, HostFunction::new(arity, move |arguments, _| function(arguments)).without_input())
    })
});

/// The functions that depend on their arguments only.
pub(crate) fn bindings() -> Bindings {
    PURE.clone()
}

/// Adds the functions that draw random numbers, in the place of variables of the same name.
pub(crate) fn with_random(bindings: Bindings, seed: u64) -> Bindings {
    let drawn = AtomicU64::new(0);
    // One stream per evaluation: the n-th draw depends on the seed and n alone.
    let draw = move || Random::new(seed.wrapping_add(drawn.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x2545_f491)));
    let uuid_seed = AtomicU64::new(seed ^ 0x5555_5555_5555_5555);
    let random = HostFunction::new(1, move |arguments, _| match argument(arguments, 0) {
        None => Ok(Some(json!(draw().fraction()))),
        Some(seed) => {
            let seed = seed.as_i64().ok_or_else(|| bad_argument("random", 1, "an integer"))?;
            Ok(Some(json!(Random::new(seed.cast_unsigned()).fraction())))
        }
    });
    let uuid = HostFunction::new(0, move |_, _| {
        Ok(Some(json!(Random::new(uuid_seed.fetch_add(1, Ordering::Relaxed)).uuid().to_string())))
    });
    bindings.function("random", random.without_input()).function("uuid", uuid.without_input())
}

fn argument<'a>(arguments: Arguments<'a>, index: usize) -> Option<&'a Value> {
    arguments.get(index).and_then(Option::as_ref)
}

fn bad_argument(function: &str, index: usize, expected: &str) -> Error {
    Error::new("D3141").with("message", format!("argument {index} of function \"{function}\" must be {expected}"))
}

/// `$partition(array, size)`: arrays of `size` items.
fn partition(arguments: Arguments<'_>) -> Answer {
    let items = match argument(arguments, 0) {
        Some(Value::Array(items)) => items.clone(),
        Some(single) => vec![single.clone()],
        None => return Ok(None),
    };
    let size = argument(arguments, 1).and_then(Value::as_f64).filter(|size| *size >= 1.0);
    let size = size.ok_or_else(|| bad_argument("partition", 2, "a positive integer"))? as usize;
    Ok(Some(items.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect()))
}

/// `$range(first, last, step)`: both ends included.
fn range(arguments: Arguments<'_>) -> Answer {
    let number = |index| {
        let value = argument(arguments, index).and_then(Value::as_f64).map(f64::trunc);
        value.ok_or_else(|| bad_argument("range", index + 1, "an integer"))
    };
    let (first, last, step) = (number(0)?, number(1)?, number(2)?);
    if step == 0.0 {
        return Err(bad_argument("range", 3, "other than 0"));
    }
    let count = ((last - first) / step).floor() + 1.0;
    if count > MAX_RANGE_ITEMS as f64 {
        return Err(bad_argument("range", 2, &format!("at most {MAX_RANGE_ITEMS} steps away")));
    }
    let items: Vec<Value> = (0..count.max(0.0) as i64).map(|i| json!((first + step * i as f64) as i64)).collect();
    // JSONata's singletons stay JSONata's.
    Ok(Some(if let [single] = items.as_slice() { single.clone() } else { Value::Array(items) }))
}

/// `$hash(data, algorithm)`: hex.
fn hash(arguments: Arguments<'_>) -> Answer {
    let data = match argument(arguments, 0) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => return Ok(None),
    };
    let algorithm = argument(arguments, 1).and_then(Value::as_str).unwrap_or_default();
    let digest: Vec<u8> = match algorithm {
        "MD5" => md5::Md5::digest(&data).to_vec(),
        "SHA-1" => sha1::Sha1::digest(&data).to_vec(),
        "SHA-256" => sha2::Sha256::digest(&data).to_vec(),
        "SHA-384" => sha2::Sha384::digest(&data).to_vec(),
        "SHA-512" => sha2::Sha512::digest(&data).to_vec(),
        _ => return Err(bad_argument("hash", 2, "one of MD5, SHA-1, SHA-256, SHA-384, SHA-512")),
    };
    Ok(Some(json!(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())))
}

/// `$parse(text)`: the JSON value.
fn parse(arguments: Arguments<'_>) -> Answer {
    match argument(arguments, 0) {
        None => Ok(None),
        Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(Some(json!(0))),
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(bad_argument("parse", 1, "JSON text")),
        },
        Some(_) => Err(bad_argument("parse", 1, "a string")),
    }
}

/// `$eval` does not exist in this dialect: expressions are compiled with the definition.
fn eval(_arguments: Arguments<'_>) -> Answer {
    Err(Error::new("T1006"))
}
