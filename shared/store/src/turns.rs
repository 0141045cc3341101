//! What waits, by tenant: the tenants take turns.

use std::collections::{HashMap, VecDeque};

/// Queues of tenants, each in the order in which it was filled.
#[derive(Debug)]
pub struct Turns<T> {
    waiting: HashMap<String, VecDeque<T>>,
    /// The tenants that wait, in the order of their turns.
    order: VecDeque<String>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Lets one more wait.
    pub fn push(&mut self, tenant_id: &str, item: T) {
        let queue = self.waiting.entry(tenant_id.to_owned()).or_default();
        queue.push_back(item);
        if queue.len() == 1 {
            self.order.push_back(tenant_id.to_owned());
        }
    }

    /// The next one: the first in the queue of the tenant whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let tenant_id = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&tenant_id)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&tenant_id);
        } else {
            self.order.push_back(tenant_id);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns() {
        let mut turns = Turns::default();
        for (tenant_id, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            turns.push(tenant_id, item);
        }
        assert_eq!((turns.len(), turns.pop()), (6, Some(1)));
        turns.push("d", 7);
        let rest: Vec<i32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(rest, [4, 5, 2, 7, 6, 3]);
        assert!(turns.is_empty() && turns.waiting.is_empty());
    }
}
