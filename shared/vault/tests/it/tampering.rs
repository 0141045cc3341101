//! Sealed parts that somebody changed: each change is noticed, and what was read before is from the original.

use vault::{PartError, PartSummary};

use crate::support::{Dice, HEADER_BYTES, data_key, frame_borders, open, seal};

const SEED: u64 = 20_261_130;
const PART: &str = "backup/tenant-1/b1/auth.account.00001.part";

/// Lines that do not compress, in this many full frames and a bit.
fn lines(dice: &mut Dice, frames: usize) -> Vec<Vec<u8>> {
    (0..frames * 16 + 4).map(|_| dice.noise(4_096)).collect()
}

/// Reads what somebody made of a part, which must fail.
fn refused(stored: &[u8], original: &[Vec<u8>], what: &str) -> PartError {
    let (found, read) = open(&data_key(1), PART, stored, 50_000);
    assert!(original.starts_with(&found), "{what}: other lines came out");
    read.expect_err(what)
}

#[test]
fn a_bit_that_flips() {
    let mut dice = Dice::new(SEED);
    let lines = lines(&mut dice, 2);
    let (stored, _) = seal(&data_key(1), PART, &lines);
    let borders = frame_borders(&stored);
    assert!(borders.len() >= 4, "{borders:?}");
    let last = borders[borders.len() - 2];
    for number in 0..1_000 {
        let at = match number % 4 {
            0 => dice.below(HEADER_BYTES),
            1 => borders[dice.below(borders.len() - 1)] + dice.below(5),
            2 => last + dice.below(stored.len() - last),
            _ => dice.below(stored.len()),
        };
        let mut changed = stored.clone();
        changed[at] ^= 1 << dice.below(8);
        let error = refused(&changed, &lines, &format!("a bit of byte {at}"));
        let is_named = match (&error, at) {
            (PartError::NotAPart { .. }, ..4) | (PartError::UnknownVersion { .. }, 4) => true,
            (PartError::Wrong { .. }, 5..) => at < HEADER_BYTES,
            (PartError::Damaged { frame, .. }, _) => {
                let frame = usize::try_from(*frame).unwrap();
                (borders[frame - 1]..borders[frame]).contains(&at)
            }
            // A last frame that says it is longer than it is.
            (PartError::Truncated { .. }, _) => (last..last + 5).contains(&at),
            _ => false,
        };
        assert!(is_named, "byte {at}: {error}");
        assert!(error.to_string().contains(PART), "{error}");
    }
}

#[test]
fn an_end_that_is_missing() {
    let mut dice = Dice::new(SEED);
    let lines = lines(&mut dice, 3);
    let (stored, _) = seal(&data_key(1), PART, &lines);
    let borders = frame_borders(&stored);
    let around = borders.iter().flat_map(|border| [border - 1, *border, border + 1, border + 5, border + 6]);
    let random: Vec<_> = (0..200).map(|_| dice.below(stored.len())).collect();
    for length in (0..100).chain(around).chain(random).filter(|length| *length < stored.len()) {
        let error = refused(&stored[..length], &lines, &format!("cut off at {length}"));
        assert_eq!(error, PartError::Truncated { part: PART.to_owned() }, "cut off at {length}");
    }
}

#[test]
fn frames_in_another_order() {
    let lines = lines(&mut Dice::new(SEED), 3);
    let (stored, _) = seal(&data_key(1), PART, &lines);
    let (other, _) = seal(&data_key(1), PART, &lines);
    let frames = |stored: &[u8]| -> Vec<Vec<u8>> {
        frame_borders(stored).windows(2).map(|border| stored[border[0]..border[1]].to_vec()).collect()
    };
    let (own, foreign) = (frames(&stored), frames(&other));
    let count = own.len();
    assert!(count >= 4);
    let mut changes: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for left in 0..count {
        for right in left + 1..count {
            let mut frames = own.clone();
            frames.swap(left, right);
            changes.push((format!("{left} and {right} swapped"), frames));
        }
        let mut frames = own.clone();
        frames.insert(left, own[left].clone());
        changes.push((format!("{left} doubled"), frames));
        let mut frames = own.clone();
        frames.push(own[left].clone());
        changes.push((format!("{left} again at the end"), frames));
        let mut frames = own.clone();
        frames.remove(left);
        changes.push((format!("{left} left out"), frames));
        let mut frames = own.clone();
        frames[left].clone_from(&foreign[left]);
        changes.push((format!("{left} of another part"), frames));
        let mut frames = own.clone();
        frames[left][0] ^= 1;
        changes.push((format!("{left} is, or is not, the last"), frames));
    }
    for (what, frames) in changes {
        let changed = [&stored[..HEADER_BYTES], &frames.concat()].concat();
        assert_ne!(changed, stored);
        refused(&changed, &lines, &what);
    }
    let header_of_other = [&other[..HEADER_BYTES], &stored[HEADER_BYTES..]].concat();
    refused(&header_of_other, &lines, "the header of another part");
}

#[test]
fn something_at_the_end() {
    let lines = lines(&mut Dice::new(SEED), 1);
    let (stored, _) = seal(&data_key(1), PART, &lines);
    let last = frame_borders(&stored).into_iter().rev().nth(1).unwrap();
    for trailing in [&[0][..], b"\n", &stored[last..], &stored] {
        let error = refused(&[&stored, trailing].concat(), &lines, "trailing bytes");
        assert_eq!(error, PartError::TrailingBytes { part: PART.to_owned() });
    }
}

#[test]
fn a_part_of_something_else() {
    let lines = vec![b"a secret".to_vec()];
    let contexts = [
        PART,
        "backup/tenant-1/b1/auth.account.00002.part",
        "backup/tenant-1/b2/auth.account.00001.part",
        "backup/tenant-2/b1/auth.account.00001.part",
        "",
    ];
    let stored: Vec<_> = contexts.iter().map(|context| seal(&data_key(1), context, &lines).0).collect();
    for (written, stored) in contexts.iter().zip(&stored) {
        for read in contexts {
            let (found, summary): (_, Result<PartSummary, PartError>) = open(&data_key(1), read, stored, 1_000);
            if read == *written {
                assert!(found == lines && summary.is_ok());
            } else {
                assert!(found.is_empty());
                assert_eq!(summary, Err(PartError::Wrong { part: read.to_owned() }));
            }
        }
        let (_, read) = open(&data_key(2), written, stored, 1_000);
        assert_eq!(read, Err(PartError::Wrong { part: (*written).to_owned() }), "another key");
    }
    let (_, read) = open(&data_key(1), PART, b"PK\x03\x04", 1_000);
    assert_eq!(read, Err(PartError::NotAPart { part: PART.to_owned() }));
}
