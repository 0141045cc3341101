//! Keys and ids of side effects: derived, never random, so that every redelivery chooses the same ones.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::step::StepPath;

/// Names one side effect: that of a step of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect<'a> {
    /// The tenant on whose behalf it happens.
    pub tenant_id: &'a str,
    /// The execution that owns the effect; a retried execution keeps the scope of the one whose effects still stand.
    pub scope: &'a str,
    /// The step, e.g. `CreateUserAccount` or `ProcessBatch[17.2]`.
    pub step: &'a StepPath,
}

impl Effect<'_> {
    /// The `Idempotency-Key` of this effect (64 hex digits), the same over all attempts.
    pub fn idempotency_key(&self) -> String {
        hex(&self.digest(b"key"))
    }

    /// The `Idempotency-Key` of undoing this effect before its step is done anew.
    pub fn undo_key(&self) -> String {
        hex(&self.digest(b"undo"))
    }

    /// An id for what the effect creates, chosen by us so that an unknown outcome can still be named and undone.
    pub fn chosen_id(&self) -> Uuid {
        let digest = self.digest(b"id");
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    fn digest(&self, purpose: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let step = self.step.to_string();
        for part in [purpose, self.tenant_id.as_bytes(), self.scope.as_bytes(), step.as_bytes()] {
            // Length-prefixed: ("a", "bc") and ("ab", "c") are different effects.
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

/// SHA-256 of `bytes`, 64 hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_every_part_and_on_nothing_else() {
        let path = |text: &str| text.parse::<StepPath>().expect("a path");
        let (step, other, item) = (path("S"), path("T"), path("S[1]"));
        let effect = Effect { tenant_id: "t", scope: "e", step: &step };
        assert_eq!(effect.idempotency_key(), effect.clone().idempotency_key());
        assert_eq!(effect.idempotency_key().len(), 64);
        assert_ne!(effect.idempotency_key(), effect.undo_key());
        for changed in [
            Effect { tenant_id: "te", scope: "", ..effect.clone() },
            Effect { step: &other, ..effect.clone() },
            Effect { step: &item, ..effect.clone() },
            Effect { scope: "f", ..effect.clone() },
        ] {
            assert_ne!(effect.idempotency_key(), changed.idempotency_key());
            assert_ne!(effect.chosen_id(), changed.chosen_id());
            assert_ne!(effect.undo_key(), changed.undo_key());
        }
    }
}
