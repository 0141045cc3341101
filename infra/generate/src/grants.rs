//! What the roles of functions allow: for each port what its operations ask AWS for.

use std::collections::BTreeSet;

use activities::{BackupUse, ErasureUse};
use contracts::WorkflowKind;
use store::{ARCHIVE, BACKUPS, RESULTS, UPLOADS};

use crate::machines;
use crate::text::{indent, pascal};

/// A group of operations that a function asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Port {
    /// What an endpoint asks for.
    Endpoint(api::Port),
    /// Adds to the audit log what is denied: `Audit::record`.
    Denials,
    /// Begins and finishes steps, with their requests: `StepRecorder`.
    Steps,
    /// Records ends: `EndRecorder`.
    Ends,
    /// Finds executions that have been open for long: `Executions::open_executions`, `Executions::put_off`.
    Due,
    /// Moves executions to the archive: `DynamoStore::archive`.
    Archiving,
    /// Starts executions of any workflow again, wherever they run.
    StartAgain,
    /// Asks Step Functions about executions.
    Describe,
    /// Invokes the functions of all activities.
    Invoke,
    /// Begins and finishes batches of distributed Maps: `StepRecorder`. They ask for nothing of the request.
    Batches,
    /// The files of an activity, in the folders that it names: `Blobs`; its leases: `Leases`.
    Files(&'static activities::Function),
    /// The installation's keys: `Keys`.
    Keys,
    /// Reads the items of distributed Maps, and writes their results: `Blobs`.
    MapFiles,
    /// Removes backups whose time is up: `store::remove_due_backups`.
    KeptBackups,
    /// Claims notices that requests of persons are due: `api::notify_due_requests`.
    Notices,
    /// Reads the key to Temporal's API.
    TemporalApiKey,
}

/// Blobs of requests that are too large for the table: `<tenant>/<folder>/<execution>`.
const REQUESTS: &str = "requests";

/// Blobs of whatever name: which file a distributed Map reads and writes is said by its machine.
const ALL: &str = "";

/// The condition of a statement about the partitions of audit logs, `<tenant>#A`.
const AUDIT_LOGS_ONLY: &str = "  Condition: {ForAllValues:StringLike: {dynamodb:LeadingKeys: [\"*#A\"]}}\n";

/// The key of a customer's own that a secret may be encrypted with.
const KEY_OF_SECRET: &str = r#"- !If
  - HasTemporalApiKeyKmsKey
  - Effect: Allow
    Action: [kms:Decrypt]
    Resource: !Ref TemporalApiKeyKmsKeyArn
    Condition: {StringEquals: {kms:ViaService: !Sub "secretsmanager.${AWS::Region}.amazonaws.com"}}
  - !Ref AWS::NoValue
"#;

/// What a role allows.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Actions on the table.
    table: BTreeSet<&'static str>,
    /// What may be queried: an index, or the table itself if empty.
    queried: BTreeSet<&'static str>,
    /// Whether rows of the audit log may be put.
    adds_to_audit_log: bool,
    /// Folders of the bucket.
    read: BTreeSet<&'static str>,
    written: BTreeSet<&'static str>,
    removed: BTreeSet<&'static str>,
    /// Whether keys are listed.
    lists: bool,
    /// Whether what is written may have parts.
    uploads: bool,
    /// Statements of their own.
    others: String,
}

impl Grants {
    /// What these ports need.
    pub(crate) fn of(ports: &[Port]) -> Self {
        let mut grants = Self::default();
        ports.iter().for_each(|port| grants.add(*port));
        grants
    }

    fn add(&mut self, port: Port) {
        match port {
            Port::Endpoint(port) => self.add_endpoints(port),
            Port::Denials => self.adds_to_audit_log = true,
            Port::Steps => {
                self.table.extend(["PutItem", "UpdateItem"]);
                self.read.insert(REQUESTS);
            }
            Port::Ends => self.table.extend(["GetItem", "PutItem", "UpdateItem"]),
            Port::Due => {
                self.table.insert("UpdateItem");
                self.queried.insert("due");
            }
            Port::Archiving => {
                self.table.extend(["BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "UpdateItem"]);
                self.queried.extend(["", "due"]);
                self.written.insert(ARCHIVE);
                self.uploads = true;
            }
            Port::StartAgain => self.start(&WorkflowKind::ALL, "HasTemporal"),
            Port::Describe => {
                let executions = machines::names(&WorkflowKind::ALL);
                let executions = executions.iter().map(|name| machines::executions_arn(name));
                self.others += &allow(&["states:DescribeExecution"], executions);
            }
            Port::Invoke => {
                let functions = activities::ALL.iter().map(|activity| pascal(&activity.name.replace('_', "-")));
                self.others +=
                    &allow(&["lambda:InvokeFunction"], functions.map(|id| format!("!GetAtt {id}Function.Arn")));
            }
            Port::Batches => self.table.extend(["BatchGetItem", "GetItem", "UpdateItem"]),
            Port::Files(files) => {
                self.read.extend(files.reads);
                self.written.extend(files.writes);
                self.removed.extend(files.removes);
                self.uploads |= !files.writes.is_empty();
                match files.backups {
                    BackupUse::Nothing => {}
                    BackupUse::Looks => drop(self.table.insert("GetItem")),
                    BackupUse::Lists => {
                        self.table.insert("BatchGetItem");
                        self.queried.insert("by_tenant");
                    }
                    BackupUse::Notes => drop(self.table.insert("UpdateItem")),
                    BackupUse::Keeps => {
                        self.table.extend(["BatchGetItem", "DeleteItem", "UpdateItem"]);
                        self.queried.insert("by_tenant");
                    }
                }
                match files.erasures {
                    ErasureUse::Nothing => {}
                    ErasureUse::Holds => drop(self.queried.insert("")),
                    ErasureUse::Looks => {
                        self.table.insert("GetItem");
                        self.queried.insert("");
                    }
                    ErasureUse::Names => {
                        self.table.extend(["GetItem", "UpdateItem"]);
                        self.queried.insert("");
                    }
                    ErasureUse::Notes => self.table.extend(["GetItem", "UpdateItem"]),
                    ErasureUse::Forgets => {
                        self.table.extend(["BatchGetItem", "DeleteItem", "UpdateItem"]);
                        self.queried.extend(["", "by_tenant"]);
                    }
                    ErasureUse::Ends => {
                        self.table.extend(["BatchGetItem", "GetItem", "UpdateItem"]);
                        self.queried.extend(["", "by_tenant"]);
                    }
                }
                if files.leases {
                    self.table.extend(["GetItem", "UpdateItem"]);
                }
            }
            Port::Keys => {
                let (wraps, signs) = ("!GetAtt BackupKey.Arn".to_owned(), "!GetAtt BackupSigningKey.Arn".to_owned());
                self.others += &allow(&["kms:Decrypt", "kms:GenerateDataKey"], [wraps]);
                self.others += &allow(&["kms:GetPublicKey", "kms:Sign"], [signs]);
            }
            Port::MapFiles => {
                self.read.insert(ALL);
                self.written.insert(ALL);
                self.uploads = true;
            }
            Port::KeptBackups => {
                self.remove_backups();
                self.queried.insert("due");
            }
            Port::Notices => {
                self.table.extend(["GetItem", "UpdateItem"]);
                self.queried.insert("due");
            }
            Port::TemporalApiKey => {
                self.others +=
                    &allow_if("HasTemporalApiKey", "secretsmanager:GetSecretValue", "!Ref TemporalApiKeySecretArn");
                self.others += KEY_OF_SECRET;
            }
        }
    }

    fn add_endpoints(&mut self, port: api::Port) {
        match port {
            api::Port::Create => {
                self.table.extend(["GetItem", "PutItem", "UpdateItem"]);
                self.queried.insert("");
            }
            api::Port::Keep => drop(self.written.insert(REQUESTS)),
            api::Port::Start(kinds) => self.start(kinds, "StartsOnTemporal"),
            api::Port::Read => self.table.extend(["BatchGetItem"]),
            api::Port::List => {
                self.table.insert("BatchGetItem");
                self.queried.extend(["", "by_kind", "by_status", "by_tenant", "by_user"]);
            }
            api::Port::History => {
                self.table.extend(["BatchGetItem", "GetItem"]);
                self.queried.extend(["", "by_status", "feed"]);
            }
            api::Port::Control => self.table.extend(["GetItem", "PutItem", "UpdateItem"]),
            api::Port::Retried => {
                self.table.insert("GetItem");
                self.queried.insert("");
            }
            api::Port::Request => self.read.extend([REQUESTS]),
            api::Port::Terminate => {
                self.table.extend(["GetItem", "PutItem", "UpdateItem"]);
                self.others += &allow_if("HasTemporal", "lambda:InvokeFunction", "!GetAtt TemporalGatewayFunction.Arn");
                let executions = machines::names(&WorkflowKind::ALL);
                let executions = executions.iter().map(|name| machines::executions_arn(name));
                self.others += &allow(&["states:StopExecution"], executions);
            }
            api::Port::Upload => drop(self.written.insert(UPLOADS)),
            api::Port::Uploaded => drop(self.read.insert(UPLOADS)),
            api::Port::Results => drop(self.read.insert(RESULTS)),
            api::Port::Check => self.table.extend(["GetItem"]),
            api::Port::Archive => self.read.extend([ARCHIVE]),
            api::Port::Audit => drop(self.queried.insert("")),
            api::Port::Backup => drop(self.table.insert("GetItem")),
            api::Port::Backups => {
                self.table.insert("BatchGetItem");
                self.queried.insert("by_tenant");
            }
            api::Port::RemoveBackup => self.remove_backups(),
            api::Port::PlaceHold => {
                self.table.extend(["DeleteItem", "PutItem", "UpdateItem"]);
                self.queried.insert("");
            }
            api::Port::Erasure => drop(self.table.insert("GetItem")),
            api::Port::Erasures => drop(self.queried.insert("")),
            api::Port::Hold => drop(self.table.insert("GetItem")),
            api::Port::Holds => {
                self.table.insert("BatchGetItem");
                self.queried.insert("by_tenant");
            }
            api::Port::DataRequest => self.table.extend(["BatchGetItem", "GetItem"]),
            api::Port::DataRequests => {
                self.table.insert("BatchGetItem");
                self.queried.extend(["by_status", "by_tenant"]);
            }
            api::Port::ExtendRequest => self.table.extend(["BatchGetItem", "GetItem", "PutItem", "UpdateItem"]),
            api::Port::ReleaseHold => {
                self.table.extend(["DeleteItem", "GetItem", "PutItem", "UpdateItem"]);
                self.queried.insert("");
            }
        }
    }

    /// Removes backups with their files.
    fn remove_backups(&mut self) {
        self.table.extend(["DeleteItem", "GetItem", "PutItem", "UpdateItem"]);
        self.removed.insert(BACKUPS);
        self.lists = true;
    }

    /// On Step Functions, or under this condition on Temporal.
    fn start(&mut self, kinds: &[WorkflowKind], on_temporal: &str) {
        self.others += &allow_if(on_temporal, "lambda:InvokeFunction", "!GetAtt TemporalGatewayFunction.Arn");
        self.others +=
            &allow(&["states:StartExecution"], machines::names(kinds).iter().map(|name| machines::arn(name)));
    }

    /// Lets a function send to this queue.
    pub(crate) fn send_to(&mut self, queue: &str) {
        self.others += &allow(&["sqs:SendMessage"], [format!("!GetAtt {queue}.Arn")]);
        self.others += &key_of("sqs", &["kms:Decrypt", "kms:GenerateDataKey*"]);
    }

    /// The statements.
    pub(crate) fn statements(&self) -> String {
        self.on_table() + &self.others + &self.on_bucket()
    }

    fn on_table(&self) -> String {
        if self.table.is_empty() && self.queried.is_empty() && !self.adds_to_audit_log {
            return String::new();
        }
        let actions: Vec<String> = self.table.iter().map(|action| format!("dynamodb:{action}")).collect();
        let queried = self.queried.iter().map(|index| match *index {
            "" => "!GetAtt Table.Arn".to_owned(),
            index => format!("!Sub \"${{Table.Arn}}/index/{index}\""),
        });
        let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
        // Whoever puts other items too has no use for less.
        let adds = match self.adds_to_audit_log && !self.table.contains("PutItem") {
            true => allow(&["dynamodb:PutItem"], ["!GetAtt Table.Arn".to_owned()]) + AUDIT_LOGS_ONLY,
            false => String::new(),
        };
        allow(&actions, ["!GetAtt Table.Arn".to_owned()])
            + &adds
            + &allow(&["dynamodb:Query"], queried)
            + &key_of(
                "dynamodb",
                &["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            )
    }

    fn on_bucket(&self) -> String {
        if self.read.is_empty() && self.written.is_empty() && self.removed.is_empty() {
            return String::new();
        }
        let keys = |folders: &BTreeSet<&str>| -> Vec<String> {
            let all = |folder: &&str| match *folder {
                ALL => "!Sub \"${Bucket.Arn}/*\"".to_owned(),
                folder => format!("!Sub \"${{Bucket.Arn}}/*/{folder}/*\""),
            };
            folders.iter().map(all).collect()
        };
        let list = match self.read.is_empty() && !self.lists {
            true => String::new(),
            false => {
                "# Only who may list is told that an object is missing; others are told that it is forbidden.\n"
                    .to_owned()
                    + &allow(&["s3:ListBucket"], ["!GetAtt Bucket.Arn".to_owned()])
            }
        };
        let write: &[&str] =
            if self.uploads { &["s3:AbortMultipartUpload", "s3:PutObject"] } else { &["s3:PutObject"] };
        let key = match (self.read.is_empty(), self.written.is_empty()) {
            (true, true) => String::new(),
            (false, true) => key_of("s3", &["kms:Decrypt"]),
            (_, false) => key_of("s3", &["kms:Decrypt", "kms:GenerateDataKey*"]),
        };
        allow(&["s3:GetObject"], keys(&self.read))
            + &list
            + &allow(write, keys(&self.written))
            + &allow(&["s3:DeleteObject"], keys(&self.removed))
            + &key
    }
}

/// A statement; none without actions or resources.
pub(crate) fn allow(actions: &[&str], resources: impl IntoIterator<Item = String>) -> String {
    let resources: Vec<String> = resources.into_iter().collect();
    let on = match &resources[..] {
        [] => return String::new(),
        [one] => format!("  Resource: {one}\n"),
        several => {
            format!("  Resource:\n{}", indent(&several.iter().map(|one| format!("- {one}\n")).collect::<String>(), 4))
        }
    };
    match actions {
        [] => String::new(),
        _ => format!("- Effect: Allow\n  Action: [{}]\n{on}", actions.join(", ")),
    }
}

/// A statement that is there under a condition.
pub(crate) fn allow_if(condition: &str, action: &str, resource: &str) -> String {
    format!(
        "- !If\n  - {condition}\n  - {{Effect: Allow, Action: [{action}], Resource: {resource}}}\n  - !Ref AWS::NoValue\n"
    )
}

/// Lets the key be used for what a service encrypts with it.
fn key_of(service: &str, actions: &[&str]) -> String {
    allow(actions, ["!GetAtt Key.Arn".to_owned()])
        + &format!(
            "  Condition: {{StringEquals: {{kms:ViaService: !Sub \"{service}.${{AWS::Region}}.amazonaws.com\"}}}}\n"
        )
}
