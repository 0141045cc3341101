//! Demo data.

use serde_json::json;

use crate::file::{FILES, WORKSPACES, put_samples};
use crate::kernel::Service;
use crate::{ServiceKind, Services, auth, tenant, user};

const TENANTS: [(&str, &str, &str); 2] =
    [("tenant-123", "Acme Corporation", "enterprise"), ("tenant-456", "Globex", "starter")];
const USER: &str = "user-123";

/// Creates the demo data; false if it is there already.
pub(crate) async fn seed(services: &Services) -> Result<bool, sqlx::Error> {
    let mut fresh = false;
    for (tenant_id, name, tier) in TENANTS {
        fresh |= seed_tenant(services.service(ServiceKind::Tenant), tenant_id, name, tier).await?;
        seed_user(services, tenant_id).await?;
    }
    Ok(fresh)
}

async fn seed_tenant(service: &Service, tenant_id: &str, name: &str, tier: &str) -> Result<bool, sqlx::Error> {
    service
        .seed(tenant_id, async |entities| {
            if entities.get(tenant::TENANTS, tenant_id).await?.is_some() {
                return Ok(false);
            }
            let context = json!({
                "tenant_id": tenant_id, "tenant_name": name, "subscription_tier": tier,
                "features": ["workflows", "files"], "quotas": { "users": 100, "storage_gb": 500 },
                "settings": { "locale": "en", "timezone": "UTC" },
            });
            entities.put(tenant::TENANTS, tenant_id, &context).await?;
            let member = json!({
                "user_id": USER, "role": "admin", "active": true, "updated_at": entities.now,
                "permissions": ["tenant:read", "tenant:write", "user:read", "user:write", "file:read", "file:write"],
            });
            entities.put(tenant::MEMBERS, USER, &member).await?;
            Ok(true)
        })
        .await
}

/// The user's account and session are with the first tenant; a profile and files are with both.
async fn seed_user(services: &Services, tenant_id: &str) -> Result<(), sqlx::Error> {
    if tenant_id == TENANTS[0].0 {
        services
            .service(ServiceKind::Auth)
            .seed(tenant_id, async |entities| {
                if entities.get(auth::ACCOUNTS, USER).await?.is_some() {
                    return Ok(false);
                }
                let account = json!({
                    "user_id": USER, "email": "ada@acme.example", "name": "Ada Example", "role": "admin",
                    "tenant_id": tenant_id, "created_at": entities.now,
                });
                entities.put(auth::ACCOUNTS, USER, &account).await?;
                let session = json!({ "session_id": "session-123", "user_id": USER, "tenant_id": tenant_id,
                    "session_data": {}, "updated_at": entities.now });
                entities.put(auth::SESSIONS, "session-123", &session).await?;
                Ok(true)
            })
            .await?;
    }
    services
        .service(ServiceKind::User)
        .seed(tenant_id, async |entities| {
            if entities.get(user::PROFILES, USER).await?.is_some() {
                return Ok(false);
            }
            let profile = json!({
                "profile_id": format!("profile-123-{tenant_id}"), "user_id": USER,
                "profile_data": { "name": "Ada Example", "email": "ada@acme.example", "role": "admin" },
                "preferences": { "theme": "dark" }, "created_at": entities.now,
            });
            entities.put(user::PROFILES, USER, &profile).await?;
            Ok(true)
        })
        .await?;
    services
        .service(ServiceKind::File)
        .seed(tenant_id, async |entities| {
            if !entities.list(FILES).await?.is_empty() {
                return Ok(false);
            }
            let id = format!("workspace-123-{tenant_id}");
            let workspace = json!({ "workspace_id": id, "user_id": USER, "created_at": entities.now,
                "workspace_config": { "type": "default", "quota_gb": "10" } });
            entities.put(WORKSPACES, &id, &workspace).await?;
            put_samples(entities, &id, USER).await?;
            Ok(true)
        })
        .await?;
    Ok(())
}
