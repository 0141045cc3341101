//! What expressions see.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jlens_core::Bindings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Random numbers that depend on nothing but the seed and how many were drawn (SplitMix64).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The bindings of one evaluation: variables, `$states` and functions.
pub(crate) struct Scope<'a> {
    pub(crate) bindings: Bindings,
    pub(crate) now: Timestamp,
    pub(crate) random: &'a mut Random,
}

impl<'a> Scope<'a> {
    /// With `$states` holding `input`, `context` and what else the moment offers (`result`, `errorOutput`).
    pub(crate) fn new(
        variables: &BTreeMap<String, Value>,
        input: &Value,
        context: Value,
        more: Option<(&str, Value)>,
        now: Timestamp,
        random: &'a mut Random,
    ) -> Self {
        let mut states = json!({ "input": input, "context": context });
        if let Some((name, value)) = more {
            states[name] = value;
        }
        let mut bindings = crate::functions::bindings();
        for (name, value) in variables {
            bindings = bindings.var(name.clone(), value.clone());
        }
        Self { bindings: bindings.var("states", states), now, random }
    }
}
