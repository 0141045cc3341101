//! What expressions see.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jlens_core::Bindings;
use jlens_core::reads::{Read, Reads};
use serde_json::{Value, json};

use crate::patience::Patience;
use crate::random::Random;
use crate::start::ExecutionStart;

/// The names of functions, JSONata's own and those of the language.
static FUNCTIONS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let catalog = jlens_core::function_catalog();
    let built_in = catalog.iter().map(|function| function.name.to_owned());
    let added = crate::functions::with_random(crate::functions::bindings(), 0);
    built_in.chain(added.functions().map(|(name, _)| name.to_owned())).collect()
});

/// The variables of a thread.
pub(crate) type Variables = BTreeMap<String, Arc<Value>>;

/// A visit to a state: what its expressions may look at.
pub(crate) struct Visit<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) input: &'a Arc<Value>,
    pub(crate) variables: &'a Variables,
    /// What the state's expressions read, all together.
    pub(crate) reads: &'a Reads,
    pub(crate) now: Timestamp,
    pub(crate) random: &'a mut Random,
    pub(crate) patience: Patience,
    /// Where to say that an evaluation took longer than anybody waits for.
    pub(crate) stalled: &'a mut Option<String>,
}

/// What the context object is made of.
pub(crate) struct Context<'a> {
    pub(crate) start: &'a ExecutionStart,
    pub(crate) started_at: Timestamp,
    pub(crate) state: &'a str,
    pub(crate) entered_at: Timestamp,
    /// None in states that cannot retry.
    pub(crate) retry_count: Option<u32>,
    /// The item of a Map that an iteration is about to begin with, and its index.
    pub(crate) item: Option<(u64, &'a Value)>,
}

/// One of the further fields of `$states`: `result`, `errorOutput`.
pub(crate) type ExtraField<'a> = Option<(&'static str, &'a Value)>;

impl Visit<'_> {
    /// For expressions to look at, with what else the moment offers.
    pub(crate) fn scope<'b>(&'b mut self, more: ExtraField<'b>) -> Scope<'b> {
        let mut states = vec![("input", View::Json(self.input)), ("context", self.context.view())];
        states.extend(more.map(|(name, value)| (name, View::Json(value))));
        Scope {
            state: self.context.state,
            states: View::Object(states),
            variables: self.variables,
            reads: self.reads,
            bindings: OnceCell::new(),
            now: self.now,
            random: self.random,
            patience: self.patience,
            stalled: self.stalled,
        }
    }
}

impl<'a> Context<'a> {
    fn view(&self) -> View<'a> {
        let start = self.start;
        let execution = vec![
            ("Id", View::Text(&start.execution_id)),
            ("Input", View::Json(&start.input)),
            ("Name", View::Text(&start.execution_name)),
            ("RoleArn", View::Text(&start.role_arn)),
            ("StartTime", View::Time(self.started_at)),
            ("RedriveCount", View::Number(0)),
        ];
        let machine =
            vec![("Id", View::Text(&start.state_machine_id)), ("Name", View::Text(&start.state_machine_name))];
        let mut state = vec![("Name", View::Text(self.state)), ("EnteredTime", View::Time(self.entered_at))];
        state.extend(self.retry_count.map(|count| ("RetryCount", View::Number(count))));
        let mut context = vec![
            ("Execution", View::Object(execution)),
            ("StateMachine", View::Object(machine)),
            ("State", View::Object(state)),
        ];
        context.extend(self.item.map(|(index, value)| {
            let item = vec![("Index", View::Index(index)), ("Value", View::Json(value))];
            ("Map", View::Object(vec![("Item", View::Object(item))]))
        }));
        View::Object(context)
    }
}

/// What the expressions of one moment of a visit see.
pub(crate) struct Scope<'a> {
    state: &'a str,
    pub(crate) states: View<'a>,
    pub(crate) variables: &'a Variables,
    reads: &'a Reads,
    /// Made when the first expression is evaluated that is more than a path.
    bindings: OnceCell<Bindings>,
    pub(crate) now: Timestamp,
    pub(crate) random: &'a mut Random,
    pub(crate) patience: Patience,
    stalled: &'a mut Option<String>,
}

impl Scope<'_> {
    /// The variables for JSONata, as far as the state's expressions read them, and the functions.
    pub(crate) fn bindings(&self) -> &Bindings {
        self.bindings.get_or_init(|| {
            let read = |name: &str| match self.reads.binding(name) {
                _ if self.reads.every_binding() => Some(&Read::Whole),
                // Such a variable hides the function, for which the analysis takes its name.
                _ if FUNCTIONS.contains(name) => Some(&Read::Whole),
                read => read,
            };
            let variables = self.variables.iter().filter_map(|(name, value)| Some((name, read(name)?.cut(value))));
            let bindings = variables.fold(crate::functions::bindings(), |all, (name, value)| all.var(name, value));
            match read("states") {
                Some(read) => bindings.var("states", self.states.cut(read)),
                None => bindings,
            }
        })
    }

    /// Whether a variable hides a function: the analysis of what is read takes its name for the function's.
    pub(crate) fn hides_functions(&self) -> bool {
        self.variables.keys().any(|name| FUNCTIONS.contains(name))
    }

    /// Notes that an evaluation took longer than anybody waits for: the execution cannot go on.
    pub(crate) fn stall(&mut self, reason: &str) {
        self.stalled.get_or_insert_with(|| format!("state '{}': {reason}", self.state));
    }

    /// The value at a path of names, the first being the variable's. None where JSONata has to say what there is: off
    /// the path, and at arrays, which it maps over and unwraps.
    pub(crate) fn at(&self, path: &[String]) -> Option<Value> {
        let (first, path) = path.split_first()?;
        if first == "states" { self.states.at(path) } else { at(self.variables.get(first)?, path) }
    }
}

/// A JSON value that is copied only as far as somebody reads it.
pub(crate) enum View<'a> {
    Json(&'a Value),
    Text(&'a str),
    Number(u32),
    Index(u64),
    Time(Timestamp),
    Object(Vec<(&'static str, View<'a>)>),
}

impl View<'_> {
    /// What has no path below it, as JSON.
    fn plain(&self) -> Option<Value> {
        Some(match self {
            Self::Text(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Index(index) => json!(index),
            Self::Time(at) => json!(iso(*at)),
            Self::Json(_) | Self::Object(_) => return None,
        })
    }

    /// As JSON, as far as it is read.
    fn cut(&self, read: &Read) -> Value {
        match self {
            Self::Json(value) => read.cut(value),
            Self::Object(fields) => {
                let read = |name: &str| match read {
                    Read::Whole => Some(&Read::Whole),
                    Read::Fields(fields) => fields.get(name),
                };
                let fields = fields.iter();
                fields.filter_map(|(name, view)| Some(((*name).to_owned(), view.cut(read(name)?)))).collect()
            }
            _ => self.plain().unwrap_or_default(),
        }
    }

    fn at(&self, path: &[String]) -> Option<Value> {
        match self {
            Self::Json(value) => at(value, path),
            Self::Object(fields) => {
                let (first, path) = path.split_first()?;
                let (_, view) = fields.iter().find(|(name, _)| name == first)?;
                view.at(path)
            }
            _ if path.is_empty() => self.plain(),
            _ => None,
        }
    }
}

fn at(value: &Value, path: &[String]) -> Option<Value> {
    let found = path.iter().try_fold(value, |value, name| value.as_object()?.get(name))?;
    (!found.is_array()).then(|| found.clone())
}

/// As in AWS's context object: milliseconds, always three digits.
pub(crate) fn iso(at: Timestamp) -> String {
    format!("{at:.3}")
}
