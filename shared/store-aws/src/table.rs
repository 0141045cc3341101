//! The table's schema, as the template of the deployment has it; a test holds the two together.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use store::StoreError;

use crate::fault;

/// What an index holds of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// Their keys.
    Keys,
    /// These attributes besides.
    Attributes(&'static [&'static str]),
    /// All of them.
    All,
}

/// Name, partition, sort key, and what the index holds.
pub const INDICES: [(&str, &str, &str, Holds); 6] = [
    ("by_tenant", "tenant_pk", "list_sk", Holds::Keys),
    ("by_kind", "kind_pk", "list_sk", Holds::Keys),
    ("by_status", "status_pk", "list_sk", Holds::Keys),
    ("by_user", "user_pk", "list_sk", Holds::Attributes(&["kind", "status"])),
    ("due", "due_pk", "due_sk", Holds::Keys),
    ("feed", "feed_pk", "feed_sk", Holds::All),
];

/// The attribute that says when an item goes.
pub const TIME_TO_LIVE: &str = "expires_at";

/// Creates the table where no template does: on a developer's machine and in tests.
pub async fn create_table(client: &Client, table: &str) -> Result<(), StoreError> {
    let mut attributes = std::collections::BTreeSet::from(["pk", "sk"]);
    let mut request = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema("pk", "sk")));
    for (name, partition, sort, holds) in INDICES {
        attributes.extend([partition, sort]);
        let index = GlobalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(key_schema(partition, sort)))
            .projection(projection(holds));
        request = request.global_secondary_indexes(index.build().map_err(malformed)?);
    }
    for attribute in attributes {
        let definition =
            AttributeDefinition::builder().attribute_name(attribute).attribute_type(ScalarAttributeType::S);
        request = request.attribute_definitions(definition.build().map_err(malformed)?);
    }
    request.send().await.map_err(fault::write)?;
    let time_to_live = TimeToLiveSpecification::builder().enabled(true).attribute_name(TIME_TO_LIVE).build();
    let update = client.update_time_to_live().table_name(table);
    let update = update.time_to_live_specification(time_to_live.map_err(malformed)?);
    update.send().await.map(drop).map_err(fault::write)
}

fn projection(holds: Holds) -> Projection {
    let projection = Projection::builder();
    match holds {
        Holds::Keys => projection.projection_type(ProjectionType::KeysOnly).build(),
        Holds::All => projection.projection_type(ProjectionType::All).build(),
        Holds::Attributes(names) => {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            projection.projection_type(ProjectionType::Include).set_non_key_attributes(Some(names)).build()
        }
    }
}

fn key_schema(partition: &str, sort: &str) -> Vec<KeySchemaElement> {
    [(partition, KeyType::Hash), (sort, KeyType::Range)]
        .into_iter()
        .filter_map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().ok())
        .collect()
}

fn malformed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}
