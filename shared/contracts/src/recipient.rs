//! Recipients of the age format: public keys, as `age-keygen` prints them.

/// What [`is_recipient`] asks for, for people.
pub const RECIPIENT: &str = "an age recipient: age1 and 58 characters, as age-keygen prints it";

/// The alphabet of Bech32 (BIP 173).
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const PREFIX: &str = "age";
/// 32 bytes in characters of 5 bits, and the checksum of 6 characters.
const DATA_CHARS: usize = 52 + 6;
/// What a step of the checksum adds for each bit that falls out (BIP 173).
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];

/// Whether `text` is an X25519 recipient, with the right checksum: a mistake in typing it is found.
pub fn is_recipient(text: &str) -> bool {
    let data = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('1'));
    let Some(data) = data.filter(|data| data.len() == DATA_CHARS) else { return false };
    let values: Option<Vec<u8>> = data.bytes().map(value_of).collect();
    values.is_some_and(|values| checksum(&values) == 1)
}

fn value_of(letter: u8) -> Option<u8> {
    ALPHABET.iter().position(|known| *known == letter).and_then(|place| u8::try_from(place).ok())
}

fn checksum(data: &[u8]) -> u32 {
    let high = PREFIX.bytes().map(|letter| letter >> 5);
    let low = PREFIX.bytes().map(|letter| letter & 31);
    high.chain([0]).chain(low).chain(data.iter().copied()).fold(1, |sum, value| {
        let shifted = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let bits = GENERATOR.iter().enumerate().filter(|(bit, _)| sum >> (25 + bit) & 1 == 1);
        bits.fold(shifted, |sum, (_, generator)| sum ^ generator)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_found() {
        // The recipient in age's own documentation.
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        assert!(is_recipient(good));
        let swapped = good.replacen("ql", "lq", 1);
        for bad in ["", "age1", &good[..61], &swapped, &good.to_uppercase(), &good.replace('z', "b"), &good[1..]] {
            assert!(!is_recipient(bad), "{bad}");
        }
    }
}
