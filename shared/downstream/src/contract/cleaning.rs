//! Takes back what a rule has made.

use serde_json::json;

use super::probe::Probe;
use super::request::Request;

impl Probe {
    /// Undoes every key of the rule, the last one first, and deletes what is there all the same. The ids of what stays.
    pub(super) async fn clean_up(&mut self) -> Vec<String> {
        for key in std::mem::take(&mut self.keys).iter().rev() {
            // What cannot be undone is deleted below.
            let _ = self.undo(key).await;
        }
        let mut left = Vec::new();
        for (entity_type, id) in std::mem::take(&mut self.things).into_iter().rev() {
            if self.is_there(&entity_type, &id).await {
                let key = self.new_id();
                let body = json!({ "items": [{ "id": id, "key": key }] });
                let _ = self.send(Request::post(format!("/data/{entity_type}/delete"), &body)).await;
                if self.is_there(&entity_type, &id).await {
                    left.push(format!("{entity_type} {id}"));
                }
            }
        }
        self.keys.clear();
        left
    }

    /// Whether the service still shows it. One without data port shows nothing.
    async fn is_there(&mut self, entity_type: &str, id: &str) -> bool {
        self.find_of(entity_type, id).await.is_ok_and(|found| found.is_some())
    }
}
