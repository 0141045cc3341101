//! Sealed parts: what was written is read again.

use contracts::effect::sha256_hex;
use vault::{FRAME_BYTES, MAX_LINE_BYTES, PartError, PartReader, PartWriter};

use crate::support::{Dice, HEADER_BYTES, data_key, frame_borders, open, seal};

const SEED: u64 = 20_261_129;

#[test]
fn random_lines_come_back() {
    for number in 0..60 {
        let mut dice = Dice::new(SEED + number);
        let key = data_key(number as u8);
        let max_length = [0, 10, 300, 20_000, 200_000][dice.below(5)];
        let count = dice.below(2_000_000 / (max_length + 1_000));
        let lines: Vec<_> = (0..count).map(|_| dice.line(max_length)).collect();
        let (stored, written) = seal(&key, "a part", &lines);
        let piece_bytes = [1 + dice.below(100), 1_000, FRAME_BYTES, 1_000_000][dice.below(4)];
        let (found, read) = open(&key, "a part", &stored, piece_bytes);
        assert!(found == lines, "{count} lines of up to {max_length} bytes");
        assert_eq!(read.as_ref(), Ok(&written));
        assert_eq!(written.items, count as u64);
        assert_eq!(written.bytes, lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>());
        assert_eq!(written.stored_bytes, stored.len() as u64);
        assert_eq!(written.sha256, sha256_hex(&stored));
    }
}

#[test]
fn random_bytes_come_back() {
    for number in 0..20 {
        let mut dice = Dice::new(SEED + number);
        let length = dice.below(400_000);
        let bytes = dice.bytes(length);
        let mut writer = PartWriter::new(&data_key(1), "bytes").unwrap();
        bytes.chunks(1 + dice.below(50_000)).for_each(|piece| writer.write(piece).unwrap());
        let (stored, written) = writer.finish().unwrap();
        let mut reader = PartReader::new(&data_key(1), "bytes").unwrap();
        let (mut found, mut buffer) = (Vec::new(), vec![0; 1 + dice.below(100_000)]);
        for piece in stored.chunks(1 + dice.below(100_000)) {
            reader.push(piece);
            loop {
                let length = reader.read(&mut buffer).unwrap();
                if length == 0 {
                    break;
                }
                found.extend_from_slice(&buffer[..length]);
            }
        }
        assert!(found == bytes);
        assert_eq!(reader.finish().unwrap(), written);
        assert_eq!(written.items, bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
    }
}

#[test]
fn nothing_is_a_part_too() {
    let (stored, written) = seal(&data_key(1), "empty", &[]);
    let (lines, read) = open(&data_key(1), "empty", &stored, 7);
    assert!(lines.is_empty());
    assert_eq!((read.as_ref(), written.items, written.bytes), (Ok(&written), 0, 0));
}

#[test]
fn parts_are_never_the_same_twice() {
    let lines = vec![b"a line".to_vec()];
    let (left, right) = (seal(&data_key(1), "p", &lines).0, seal(&data_key(1), "p", &lines).0);
    assert_eq!(left.len(), right.len());
    assert_ne!(left, right);
}

/// The last frame is full: its number of bytes does not tell that it is the last.
#[test]
fn the_last_frame_may_be_full() {
    let bytes = Dice::new(SEED).bytes(FRAME_BYTES);
    let (mut full, mut one_more) = (0, 0);
    for length in FRAME_BYTES - 40..FRAME_BYTES {
        let mut writer = PartWriter::new(&data_key(1), "full").unwrap();
        writer.write(&bytes[..length]).unwrap();
        let (stored, written) = writer.finish().unwrap();
        let borders = frame_borders(&stored);
        let last = borders[borders.len() - 1] - borders[borders.len() - 2] - 5 - 16;
        full += usize::from(borders.len() == 2 && last == FRAME_BYTES);
        one_more += usize::from(borders.len() == 3 && last == 1);
        let mut reader = PartReader::new(&data_key(1), "full").unwrap();
        reader.push(&stored);
        let (mut found, mut buffer) = (Vec::new(), vec![0; 1_000]);
        while let length @ 1.. = reader.read(&mut buffer).unwrap() {
            found.extend_from_slice(&buffer[..length]);
        }
        assert!(found == bytes[..length]);
        assert_eq!(reader.finish().unwrap(), written);
    }
    assert_eq!((full, one_more), (1, 1), "some length fills the frame, and the next needs another");
}

#[test]
fn lines_have_a_longest() {
    let mut writer = PartWriter::new(&data_key(1), "long").unwrap();
    writer.write_line(&vec![b'x'; MAX_LINE_BYTES]).unwrap();
    let too_long = PartError::LineTooLong { part: "long".to_owned(), line: 2 };
    assert_eq!(writer.write_line(&vec![b'x'; MAX_LINE_BYTES + 1]), Err(too_long));
    let broken = PartError::LineBreak { part: "long".to_owned(), line: 2 };
    assert_eq!(writer.write_line(b"two\nlines"), Err(broken));
    writer.write_line(b"as if nothing had been").unwrap();
    let (stored, written) = writer.finish().unwrap();
    let (lines, read) = open(&data_key(1), "long", &stored, 1_000);
    assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_LINE_BYTES, 22]);
    assert_eq!(read, Ok(written));
}

/// A small part can become much: the reader gives up at the longest line, and takes a chunk at a time.
#[test]
fn a_part_that_expands_without_end_is_given_up() {
    let mut writer = PartWriter::new(&data_key(1), "bomb").unwrap();
    writer.write(b"a line\n").unwrap();
    (0..64).for_each(|_| writer.write(&vec![0; 1 << 20]).unwrap());
    let (stored, written) = writer.finish().unwrap();
    assert!(written.bytes > 5_000 * stored.len() as u64);
    let (lines, read) = open(&data_key(1), "bomb", &stored, stored.len());
    assert_eq!(lines, [b"a line"]);
    let error = read.unwrap_err();
    assert_eq!(error, PartError::LineTooLong { part: "bomb".to_owned(), line: 2 });
    assert_eq!(error.to_string(), "line 2 of 'bomb' is longer than 8388608 bytes");
}

#[test]
fn reading_ends_when_all_is_read() {
    let (stored, _) = seal(&data_key(1), "unread", &[b"one".to_vec(), b"two".to_vec()]);
    let unread = Err(PartError::Unread { part: "unread".to_owned() });
    let mut reader = PartReader::new(&data_key(1), "unread").unwrap();
    reader.push(&stored);
    assert_eq!(reader.finish(), unread);
    let mut reader = PartReader::new(&data_key(1), "unread").unwrap();
    reader.push(&stored);
    assert_eq!(reader.next_line(), Ok(Some(b"one".to_vec())));
    assert_eq!(reader.finish(), unread);

    let mut writer = PartWriter::new(&data_key(1), "unended").unwrap();
    writer.write(b"one\ntwo").unwrap();
    let (lines, read) = open(&data_key(1), "unended", &writer.finish().unwrap().0, 10);
    assert_eq!(lines, [b"one"]);
    assert_eq!(read, Err(PartError::UnendedLine { part: "unended".to_owned(), line: 2 }));
}

#[test]
fn the_header_is_as_documented() {
    let (stored, _) = seal(&data_key(1), "p", &[b"x".to_vec()]);
    assert_eq!(stored[..5], *b"WFSP\x01");
    assert_eq!(frame_borders(&stored), [HEADER_BYTES, stored.len()]);
    assert_eq!(stored[HEADER_BYTES], 1);
}
