//! Pages of a list.

use serde::Deserialize;

/// Which part of a list is asked for: `?page=1&page_size=50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Page {
    /// From 1.
    pub(crate) page: usize,
    /// How many entries a page has.
    pub(crate) page_size: usize,
}

impl Page {
    /// The most entries of a page.
    pub(super) const MAX_SIZE: usize = 1_000;

    pub(super) fn is_valid(self) -> bool {
        self.page > 0 && (1..=Self::MAX_SIZE).contains(&self.page_size)
    }

    /// The entries of this page.
    pub(crate) fn of<T>(self, all: &[T]) -> &[T] {
        let start = (self.page - 1).saturating_mul(self.page_size).min(all.len());
        let end = start.saturating_add(self.page_size).min(all.len());
        &all[start..end]
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { page: 1, page_size: 50 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list_once() {
        let all = [1, 2, 3, 4, 5];
        let of = |page, page_size| Page { page, page_size }.of(&all);
        assert_eq!((of(1, 2), of(2, 2), of(3, 2)), (&[1, 2][..], &[3, 4][..], &[5][..]));
        assert!(of(4, 2).is_empty() && of(usize::MAX, usize::MAX).is_empty());
        assert!(!Page { page: 0, page_size: 1 }.is_valid() && !Page { page: 1, page_size: 0 }.is_valid());
        assert!(!Page { page: 1, page_size: Page::MAX_SIZE + 1 }.is_valid() && Page::default().is_valid());
    }
}
