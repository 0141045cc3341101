//! Many things that are there from the start.

use super::*;

async fn counts(world: &World) -> Vec<usize> {
    let snapshot = world.services.snapshot(Some("tenant-many")).await.expect("a snapshot");
    [("auth", "accounts"), ("user", "profiles"), ("tenant", "memberships")]
        .map(|(service, table)| snapshot[service][table].as_array().map(Vec::len).unwrap_or_default())
        .into()
}

#[tokio::test]
async fn seeding_goes_on_where_it_stopped() {
    let world = World::new().await;
    for (entities, expected) in [(7, [3, 2, 2]), (4, [3, 2, 2]), (30_002, [10_001, 10_001, 10_000])] {
        let mut told = Vec::new();
        world.services.seed_entities("tenant-many", entities, |done| told.push(done)).await.expect("seeds");
        assert_eq!(counts(&world).await, expected);
        assert!(told.is_sorted(), "{told:?}");
        assert_eq!(told.last(), Some(&entities));
    }
    let account = world.get(ServiceKind::Auth, "tenant-many", "/api/v1/users/seed-0000001").await.json();
    assert_eq!(account["email"], "seed-0000001@example.com");
    let profile = world.get(ServiceKind::User, "tenant-many", "/api/v1/profiles/seed-0010001").await.json();
    assert_eq!(profile["profile_data"]["email"], "seed-0010001@example.com");
    let digest = world.get(ServiceKind::Tenant, "tenant-many", "/api/v1/data/membership/digest").await.json();
    assert_eq!((&digest["count"], &digest["watermark"].is_string()), (&json!(10_000), &true));
}
