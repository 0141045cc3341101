//! How many executions may be open at once: one rule for every store.
//!
//! What is accepted is to end within its deadline, and each open execution takes memory; so there are no more than an
//! engine can finish in that time. Paused ones count: they take memory too, and may all go on at once.

/// How many executions may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenLimits {
    /// Of one tenant.
    pub of_tenant: u64,
    /// Of all tenants together.
    pub in_all: u64,
}

/// How many executions are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCounts {
    /// Of the tenant that starts one.
    pub of_tenant: u64,
    /// Of all tenants together.
    pub in_all: u64,
}

/// Why a start is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The tenant has as many open executions as any tenant may have: so many.
    Tenant(u64),
    /// The tenant has as many open executions as there is room left for others.
    Service,
}

impl OpenLimits {
    /// As many as the store can hold.
    pub const NONE: Self = Self { of_tenant: u64::MAX, in_all: u64::MAX };

    /// Whether one more would be too many. No tenant has more open than there is room left, so that the tenants that are
    /// busy share the room, and one that has none open always finds some.
    pub fn refuse(self, open: OpenCounts) -> Option<Full> {
        let room = self.in_all.saturating_sub(open.in_all);
        match open.of_tenant {
            of_tenant if of_tenant >= self.of_tenant => Some(Full::Tenant(self.of_tenant)),
            of_tenant if of_tenant >= room => Some(Full::Service),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(of_tenant: u64, in_all: u64) -> Option<Full> {
        OpenLimits { of_tenant: 5, in_all: 20 }.refuse(OpenCounts { of_tenant, in_all })
    }

    #[test]
    fn a_tenant_has_a_limit_of_its_own() {
        assert_eq!([refused(0, 0), refused(4, 4)], [None, None]);
        assert_eq!([refused(5, 5), refused(6, 6), refused(5, 20)], [Some(Full::Tenant(5)); 3]);
        let none = OpenCounts { of_tenant: u64::MAX - 1, in_all: 0 };
        assert_eq!(OpenLimits::NONE.refuse(none), None);
    }

    #[test]
    fn all_together_have_one_too() {
        assert_eq!([refused(0, 19), refused(4, 15)], [None, None]);
        assert_eq!([refused(0, 20), refused(1, 19), refused(4, 16), refused(0, 21)], [Some(Full::Service); 4]);
    }

    /// However many tenants start as much as they can, there is room for one that has nothing open.
    #[test]
    fn there_is_room_for_a_newcomer() {
        for busy in 1..19_usize {
            let mut open = vec![0_u64; busy];
            loop {
                let before: u64 = open.iter().sum();
                for tenant in 0..busy {
                    let in_all = open.iter().sum();
                    open[tenant] += u64::from(refused(open[tenant], in_all).is_none());
                }
                if open.iter().sum::<u64>() == before {
                    break;
                }
            }
            let (in_all, least, most) = (open.iter().sum(), open.iter().min(), open.iter().max());
            assert_eq!(refused(0, in_all), None, "{busy} tenants have {open:?}");
            assert!(least > Some(&0) && most <= least.map(|least| least + 1).as_ref(), "they share: {open:?}");
        }
    }
}
