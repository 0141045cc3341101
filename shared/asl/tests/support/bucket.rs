//! The objects that a case's Maps read and write.

use std::collections::BTreeMap;

use asl::{ChildEnd, Event, ItemDecoder, ItemSource, ItemsError, MapRunId, ResultFiles, ResultTarget};
use serde_json::{Value, json};

/// Objects by bucket and key.
pub struct Bucket(pub BTreeMap<(String, String), String>);

impl Bucket {
    pub fn of(case: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let objects = case["s3"].as_array().into_iter().flatten();
        Self(objects.map(|object| ((text(&object["bucket"]), text(&object["key"])), text(&object["body"]))).collect())
    }

    pub fn count(&self, map_run: MapRunId, source: &ItemSource) -> Event {
        match self.items(source) {
            Ok(items) => Event::ItemsRead { map_run, count: items.len() as u64 },
            Err(cause) => Event::MapRunFailed { map_run, error: ItemsError::NAME.to_owned(), cause },
        }
    }

    pub fn item(&self, source: &ItemSource, index: u64) -> Value {
        let items = self.items(source).expect("items that were counted");
        items[usize::try_from(index).expect("an index")].clone()
    }

    pub fn write(&mut self, map_run: MapRunId, arn: &str, target: &ResultTarget, mut ends: Vec<&ChildEnd>) -> Event {
        let files = match ResultFiles::new(arn, target) {
            Ok(files) => files,
            Err(cause) => return Event::MapRunFailed { map_run, error: ResultFiles::ERROR.to_owned(), cause },
        };
        ends.sort_by_key(|end| end.index);
        let mut size = |has_failed: bool| {
            let results: Value =
                ends.iter().filter(|end| end.has_failed == has_failed).map(|end| end.result.clone()).collect();
            if results == json!([]) {
                return None;
            }
            let body = results.to_string();
            let size = body.len() as u64;
            self.0.insert((files.bucket().to_owned(), files.key(has_failed)), body);
            Some(size)
        };
        let manifest = files.manifest(size(false), size(true)).to_string();
        self.0.insert((files.bucket().to_owned(), files.manifest_key()), manifest);
        Event::ResultsWritten { map_run, result: files.result() }
    }

    fn items(&self, source: &ItemSource) -> Result<Vec<Value>, String> {
        let text = |name: &str| source.arguments[name].as_str().unwrap_or_default().to_owned();
        let body = self.0.get(&(text("Bucket"), text("Key"))).ok_or("There is no such object.")?;
        let mut decoder = ItemDecoder::new(source).map_err(|error| error.to_string())?;
        decoder.push(body.as_bytes()).and_then(|()| decoder.finish()).map_err(|error| error.to_string())?;
        Ok(std::iter::from_fn(|| decoder.poll_item()).collect())
    }
}
