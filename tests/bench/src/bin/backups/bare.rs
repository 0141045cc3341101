//! What a backup cannot do without: each thing becomes a line, the bytes of files are hashed and become lines, and lines are
//! compressed, encrypted, hashed and written into files.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clock::{Clock as _, SystemClock};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use vault::{DataKey, FileKeys, Keys as _, PartWriter};

use crate::service::{content, files, id_of, records, thing};

/// As in a backup.
const PIECE_BYTES: usize = 192 * 1024;
/// Things of a page, which the service makes before they are lines.
const PAGE_ITEMS: usize = 200;

/// Writes parts with what a tenant of this size holds.
pub(crate) async fn write(directory: &Path, mib: usize) -> anyhow::Result<()> {
    let place = directory.join("keys.json");
    FileKeys::init(&place, SystemClock.now())?;
    let (key, _) = FileKeys::open(&place)?.new_data_key("bare").await?;
    let mut part = Part::begin(&key, directory, "record")?;
    for begin in (0..records(mib)).step_by(PAGE_ITEMS) {
        for number in begin..records(mib).min(begin + PAGE_ITEMS) {
            part.line(&serde_json::to_vec(&thing("record", number))?)?;
        }
    }
    part.end()?;
    let mut part = Part::begin(&key, directory, "file_content")?;
    for number in 0..files(mib) {
        let (id, bytes) = (id_of("file", number), content(number));
        for piece in bytes.chunks(PIECE_BYTES) {
            part.line(&serde_json::to_vec(&json!({ "file": id, "bytes": STANDARD.encode(piece) }))?)?;
        }
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        part.line(&serde_json::to_vec(&json!({ "file": id, "size": bytes.len(), "sha256": sha256 }))?)?;
    }
    part.end()
}

struct Part {
    sealed: PartWriter,
    file: File,
}

impl Part {
    fn begin(key: &DataKey, directory: &Path, name: &str) -> anyhow::Result<Self> {
        Ok(Self { sealed: PartWriter::new(key, name)?, file: File::create(directory.join(name))? })
    }

    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        self.sealed.write_line(line)?;
        Ok(self.file.write_all(&self.sealed.take())?)
    }

    fn end(mut self) -> anyhow::Result<()> {
        let (rest, _) = self.sealed.finish()?;
        self.file.write_all(&rest)?;
        Ok(self.file.sync_all()?)
    }
}
