//! The File service: workspaces, and files with their bytes.

mod content;
mod operations;

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::kernel::{
    Call, Definition, Dependent, Doc, Done, EntityType, Field, Fields, Kind, Member, Mutation, NOT_FOUND, OperationOf,
    Problem, Query, Reader, Reference, Row, Rows, Shape, Table, Tx, row,
};

pub(crate) static DEFINITION: Definition = Definition {
    schema: &[
        "
        CREATE TABLE IF NOT EXISTS workspaces (
            tenant_id TEXT NOT NULL,
            workspace_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            workspace_config TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (tenant_id, workspace_id)
        ) STRICT;
        CREATE TABLE IF NOT EXISTS files (
            tenant_id TEXT NOT NULL,
            file_id TEXT NOT NULL,
            workspace_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            name TEXT NOT NULL,
            content_type TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (tenant_id, file_id),
            FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces ON DELETE CASCADE
        ) STRICT;
        CREATE INDEX IF NOT EXISTS files_by_workspace ON files (tenant_id, workspace_id);
        CREATE INDEX IF NOT EXISTS files_by_user ON files (tenant_id, user_id);
        -- Apart, so that lists do not read them.
        CREATE TABLE IF NOT EXISTS contents (
            tenant_id TEXT NOT NULL,
            file_id TEXT NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (tenant_id, file_id),
            FOREIGN KEY (tenant_id, file_id) REFERENCES files ON DELETE CASCADE
        ) STRICT;
        ",
        // The checksum of the bytes, for files that somebody wanted it of.
        "
        ALTER TABLE files ADD COLUMN sha256 TEXT;
        ",
        content::SCHEMA,
    ],
    tables: &[&WORKSPACES, &FILES, &CONTENTS],
    entity_types: &[&WORKSPACE, &FILE],
    routes: |routes| {
        let routes = routes
            .mutation::<CreateWorkspace>()
            .query::<GetWorkspace>()
            .mutation::<CreateSampleData>()
            .query::<ListFiles>();
        content::routes(routes)
    },
    demo: [demo, |_| Vec::new()],
};

static WORKSPACES: Table = Table {
    json: &["workspace_config"],
    dependents: &[Dependent { table: &FILES, columns: &["tenant_id", "workspace_id"], or: None }],
    ..Table::new("workspaces", &["tenant_id", "workspace_id"], "the workspace exists")
};
static FILES: Table = Table {
    dependents: &[Dependent { table: &CONTENTS, columns: &["tenant_id", "file_id"], or: None }],
    ..Table::new("files", &["tenant_id", "file_id"], "the file exists")
};
static CONTENTS: Table =
    Table { bytes: &["content"], ..Table::new("contents", &["tenant_id", "file_id"], "the file has its bytes") };

static WORKSPACE: EntityType = EntityType {
    subject_field: Some("user_id"),
    personal: &[("workspace_config", "content")],
    references: &[Reference::new("user_id", "auth", "account")],
    ..EntityType::new(
        "workspace",
        &WORKSPACES,
        "workspace_id",
        &[
            Field::new("workspace_id", Kind::Id),
            Field::new("user_id", Kind::Id),
            Field::new("workspace_config", Kind::TextMap),
            Field::new("created_at", Kind::Time),
        ],
    )
};
static FILE: EntityType = EntityType {
    subject_field: Some("user_id"),
    personal: &[("name", "content")],
    references: &[Reference::new("workspace_id", "file", "workspace"), Reference::new("user_id", "auth", "account")],
    operations: &[OperationOf::new::<operations::FileProcessing>()],
    ..EntityType::new(
        "file",
        &FILES,
        "file_id",
        &[
            Field::new("file_id", Kind::Id),
            Field::new("workspace_id", Kind::Id),
            Field::new("user_id", Kind::Id),
            Field::new("name", Kind::Text),
            Field::new("content_type", Kind::Text),
            Field::new("size_bytes", Kind::Count),
            Field::new("sha256", Kind::NullableText),
            Field::new("created_at", Kind::Time),
        ],
    )
};

/// What a new workspace is filled with on request: name, content type, content.
const SAMPLES: [(&str, &str, &str); 3] = [
    (
        "welcome.md",
        "text/markdown",
        "# Welcome\n\nThis workspace is yours. Files that you put here are seen by your tenant only.\n",
    ),
    ("contacts.csv", "text/csv", "name,email\nAda Example,ada@example.com\nBob Example,bob@example.com\n"),
    ("settings.json", "application/json", "{\"theme\":\"light\",\"notifications\":true}\n"),
];

/// `POST /api/v1/workspaces`
struct CreateWorkspace {
    workspace_id: Option<String>,
    user_id: String,
    workspace_config: Value,
}

impl Mutation for CreateWorkspace {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/workspaces";
    const DOC: Doc = Doc {
        takes: &[
            Member::optional("workspace_id", Shape::Id, "chosen by the caller"),
            Member::required("user_id", Shape::Text, ""),
            Member::required("workspace_config", Shape::TextMap, ""),
        ],
        refuses: &[(409, "the workspace exists")],
        ..Doc::created(
            "Creates a workspace.",
            "setup_user_file_workspace (user onboarding).",
            Shape::Object(&[
                Member::required("workspace_id", Shape::Id, "the chosen one"),
                Member::required("created_at", Shape::Time, ""),
            ]),
        )
    };

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self {
            workspace_id: body.chosen_id("workspace_id"),
            user_id: body.text("user_id"),
            workspace_config: body.text_map("workspace_config"),
        }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let workspace_id = self.workspace_id.unwrap_or_else(|| tx.new_id());
        let created_at = tx.now();
        let workspace = json!({
            "workspace_id": workspace_id, "user_id": self.user_id, "workspace_config": self.workspace_config,
            "created_at": created_at,
        });
        tx.create(&WORKSPACES, row(workspace)).await?;
        let body = json!({ "workspace_id": workspace_id, "created_at": created_at });
        Ok(Done::created("workspace", &workspace_id, body))
    }
}

/// `GET /api/v1/workspaces/{workspace_id}`
struct GetWorkspace;

impl Query for GetWorkspace {
    const ROUTE: &'static str = "/api/v1/workspaces/{workspace_id}";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "A workspace.",
            "No workflow: they read workspaces by the data port. It is what people look at.",
            Shape::Owned(&WORKSPACE),
        )
    };

    fn is_logged(_: &Call) -> bool {
        true
    }

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let workspace = reader.get(&WORKSPACES, &[reader.call.param("workspace_id")]).await?;
        reader.log_access(&WORKSPACE, &workspace).await?;
        Ok(Json(workspace).into_response())
    }
}

/// `POST /api/v1/workspaces/{workspace_id}/sample-data`
struct CreateSampleData {
    workspace_id: String,
    user_id: String,
}

impl Mutation for CreateSampleData {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/workspaces/{workspace_id}/sample-data";
    const DOC: Doc = Doc {
        takes: &[Member::required("user_id", Shape::Text, "")],
        refuses: &[NOT_FOUND],
        ..Doc::created(
            "Puts sample files into a workspace.",
            "create_sample_data (user onboarding, on request).",
            Shape::Object(&[
                Member::required("files_created", Shape::Count, ""),
                Member::required("created_at", Shape::Time, ""),
            ]),
        )
    };

    fn read(call: &Call, body: &mut Fields<'_>) -> Self {
        Self { workspace_id: call.param("workspace_id").to_owned(), user_id: body.text("user_id") }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        tx.get(&WORKSPACES, &[&self.workspace_id]).await?;
        let created_at = tx.now();
        for sample in SAMPLES {
            let place = [tx.new_id().as_str(), &self.workspace_id, &self.user_id, &created_at].map(str::to_owned);
            for (table, row) in file(place, sample) {
                tx.create(table, row).await?;
            }
        }
        let body = json!({ "files_created": SAMPLES.len(), "created_at": created_at });
        Ok(Done::created("sample_data", &self.workspace_id, body))
    }
}

/// `GET /api/v1/users/{user_id}/files`
struct ListFiles;

impl Query for ListFiles {
    const ROUTE: &'static str = "/api/v1/users/{user_id}/files";
    const DOC: Doc = Doc::new(
        "A user's files in the tenant, the newest first.",
        "No workflow: they read files by the data port. It is what people look at.",
        Shape::Object(&[Member::required(
            "files",
            Shape::List(&[
                Member::required("tenant_id", Shape::Text, ""),
                Member::required("file_id", Shape::Text, ""),
                Member::required("workspace_id", Shape::Text, ""),
                Member::required("user_id", Shape::Text, ""),
                Member::required("name", Shape::Text, ""),
                Member::required("content_type", Shape::Text, ""),
                Member::required("size_bytes", Shape::Count, ""),
                Member::required("created_at", Shape::Time, ""),
            ]),
            "at most 1,000",
        )]),
    );

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let user_id = reader.call.param("user_id");
        let mut files = reader.list(&FILES, &[("user_id", user_id)]).await?;
        for file in &mut files {
            file.remove("sha256");
        }
        Ok(Json(json!({ "files": files })).into_response())
    }
}

/// The rows of a file. `place` is its id, workspace, user and time of creation.
fn file(place: [String; 4], (name, content_type, content): (&str, &str, &str)) -> [(&'static Table, Row); 2] {
    let [file_id, workspace_id, user_id, created_at] = place;
    let bytes = json!({ "file_id": file_id, "content": BASE64.encode(content) });
    let file = json!({
        "file_id": file_id, "workspace_id": workspace_id, "user_id": user_id, "name": name,
        "content_type": content_type, "size_bytes": content.len(), "created_at": created_at,
    });
    [(&FILES, row(file)), (&CONTENTS, row(bytes))]
}

fn demo(at: &str) -> Rows {
    let mut rows = Vec::new();
    for number in ["123", "456"] {
        let tenant_id = format!("tenant-{number}");
        let workspace_id = format!("workspace-{number}");
        let workspace = json!({
            "tenant_id": tenant_id, "workspace_id": workspace_id, "user_id": "user-123",
            "workspace_config": { "type": "default", "quota_gb": "10" }, "created_at": at,
        });
        rows.push((&WORKSPACES, row(workspace)));
        for (index, sample) in SAMPLES.into_iter().enumerate() {
            let file_id = format!("file-{number}-{}", index + 1);
            for (table, mut row) in file([file_id, workspace_id.clone(), "user-123".to_owned(), at.to_owned()], sample)
            {
                row.insert("tenant_id".to_owned(), tenant_id.as_str().into());
                rows.push((table, row));
            }
        }
    }
    rows
}
