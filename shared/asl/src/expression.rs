//! Compiled JSONata expressions.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use jlens_core::input::{Source, Variable};
use jlens_core::reads::{Read, Reads};
use jlens_core::{Expression as Jsonata, Options};
use serde_json::{Number, Value};

use crate::MAX_PAYLOAD_BYTES;
use crate::error::StateError;
use crate::scope::Scope;

/// Steps of one evaluation at most. Counted, not timed, so that every machine decides alike.
const MAX_STEPS: u64 = 1_000_000;
/// What one evaluation may do and build between its steps: items visited, items and fields built, pieces of text of 32
/// bytes; four steps back of a regular expression are one. A unit takes nanoseconds and some 32 bytes.
const MAX_WORK: u64 = 2_000_000;
/// Beyond this part of its limits an evaluation is long: some milliseconds.
const LONG: u64 = 50;
/// What `jlens_core` calls an evaluation that took more steps, or more work, than it may.
const TOO_MANY_STEPS: &str = "U1006";
/// Nesting of one evaluation at most.
const MAX_DEPTH: usize = 1_000;
/// Bytes of one value at most; nothing larger could leave a state.
const MAX_VALUE_BYTES: usize = 4 * MAX_PAYLOAD_BYTES;
/// Items of one array at most: a payload has room for no more.
const MAX_ARRAY_ITEMS: usize = MAX_PAYLOAD_BYTES / 2;

/// JSONata's own functions.
static BUILT_IN: LazyLock<HashSet<&str>> =
    LazyLock::new(|| jlens_core::function_catalog().iter().map(|function| function.name).collect());

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    /// Without the marks and the spaces next to them; error texts quote it.
    text: String,
    compiled: Jsonata,
    /// What it may read, so that nothing else need be looked at for it.
    reads: Reads,
    /// Its names, if it is nothing but a path: `$states.input.user.id`.
    path: Option<Vec<String>>,
    /// Whether it may ask for random numbers.
    is_random: bool,
}

/// What an evaluation gives.
enum Evaluated {
    Value(Value),
    Nothing,
    Function,
}

/// The text between `{%` and `%}`, if `string` is an expression; only if they are its very ends.
pub(crate) fn expression_text(string: &str) -> Option<&str> {
    Some(string.strip_prefix("{%")?.strip_suffix("%}")?.trim())
}

impl Expression {
    pub(crate) fn compile(text: &str) -> Result<Self, jlens_core::Error> {
        let compiled = Jsonata::compile(text)?;
        let is_random = ["$random", "$uuid", "$shuffle"].iter().any(|name| text.contains(name));
        Ok(Self {
            text: text.to_owned(),
            reads: compiled.reads_with(&crate::functions::with_random(crate::functions::bindings(), 0)),
            compiled,
            path: path(text),
            is_random,
        })
    }

    /// Without the marks.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it reads this field of `$states`.
    pub(crate) fn reads_state_field(&self, name: &str) -> bool {
        let states = self.reads.binding("states").and_then(Read::fields);
        states.is_some_and(|fields| fields.contains_key(name))
    }

    /// The value; undefined is an error.
    pub(crate) fn evaluate(&self, scope: &mut Scope, field: &str) -> Result<Value, StateError> {
        let found = self.path.as_ref().and_then(|path| scope.at(path));
        let mut value = match found {
            Some(value) => value,
            None => self.calculate(scope, field)?,
        };
        whole_numbers(&mut value);
        Ok(value)
    }

    /// A value of the kind that the field wants.
    pub(crate) fn evaluate_to<T>(
        &self,
        scope: &mut Scope,
        field: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, StateError> {
        let value = self.evaluate(scope, field)?;
        convert(&value).ok_or_else(|| self.wrong_type(field, expected, &value))
    }

    pub(crate) fn wrong_type(&self, field: &str, expected: &str, value: &Value) -> StateError {
        let kind = kind(value);
        let what = "returned an unexpected result type.";
        self.fail(field, &format!("{what} Expected '{expected}', but was '{kind}' for value: {value}"))
    }

    fn calculate(&self, scope: &mut Scope, field: &str) -> Result<Value, StateError> {
        let seed = self.is_random.then(|| scope.random.next());
        let now = scope.now.as_millisecond();
        let mut result = self.attempt(scope, seed, &Self::options(now, seed, LONG));
        if result.as_ref().is_err_and(|error| error.code() == TOO_MANY_STEPS) {
            // The same from its beginning: most expressions are over before.
            let options = Self::options(now, seed, 1);
            (scope.run_long)(&mut || result = self.attempt(scope, seed, &options));
        }
        match result {
            Ok(Evaluated::Value(value)) => Ok(value),
            Ok(Evaluated::Function) => Err(self.fail(field, "returned an unsupported result type.")),
            Ok(Evaluated::Nothing) => Err(self.fail(field, "returned nothing (undefined).")),
            Err(error) => {
                let mut what = format!("threw an error during evaluation. {}", error.code());
                let message = error.message();
                if !message.is_empty() {
                    let _ = write!(what, ": {message}");
                }
                Err(self.fail(field, &what))
            }
        }
    }

    /// The limits, or a part of those that are spent.
    fn options(now: i64, seed: Option<u64>, part: u64) -> Options {
        let options = Options::new()
            .now(now)
            .max_steps(MAX_STEPS / part)
            .max_work(MAX_WORK / part)
            .max_depth(MAX_DEPTH)
            .max_string_length(MAX_VALUE_BYTES)
            .max_result_size(MAX_VALUE_BYTES)
            .max_array_length(MAX_ARRAY_ITEMS);
        if let Some(seed) = seed { options.seed(seed) } else { options }
    }

    /// Evaluates once. What is drawn depends on the seed alone, not on the attempts before.
    fn attempt(&self, scope: &Scope, seed: Option<u64>, options: &Options) -> Result<Evaluated, jlens_core::Error> {
        let evaluate = |expression: &Jsonata| {
            let functions = match seed {
                Some(seed) => crate::functions::with_random(crate::functions::bindings(), seed),
                None => crate::functions::bindings(),
            };
            expression.evaluate_variables(self.variables(scope, &(&scope.states)), &functions, options)
        };
        if let Some(value) = evaluate(&self.compiled)? {
            return Ok(Evaluated::Value(value));
        }
        // JSON knows no functions, so an expression that gives one seems to give nothing.
        let kind = evaluate(&Jsonata::compile(&format!("$type(({}\n))", self.text))?)?;
        Ok(if kind.is_some_and(|kind| kind == "function") { Evaluated::Function } else { Evaluated::Nothing })
    }

    /// What the expression may read.
    fn variables<'a>(
        &'a self,
        scope: &'a Scope,
        states: &'a dyn Source<'a>,
    ) -> impl Iterator<Item = (&'a str, Variable<'a>)> {
        let all = self.reads.every_binding();
        let is_read = move |name: &str| {
            // Those that draw come after the variables; others a variable hides, though the analysis takes its name for them.
            let is_hidden = self.is_random && crate::functions::RANDOM.contains(&name);
            !is_hidden && (all || self.reads.binding(name).is_some() || BUILT_IN.contains(name))
        };
        let variables = scope.variables.iter().filter(move |(name, _)| is_read(name));
        let variables = variables.map(|(name, value)| (name.as_str(), Variable::Json(value)));
        let states = (all || self.reads.binding("states").is_some()).then_some(("states", Variable::Source(states)));
        variables.chain(states)
    }

    fn fail(&self, field: &str, what: &str) -> StateError {
        let cause = format!("The JSONata expression '{}' specified for the field '{field}' {what}", self.text);
        StateError::evaluation(cause, field)
    }
}

/// The names of a path without any operator: looking those up needs no evaluation.
fn path(text: &str) -> Option<Vec<String>> {
    let is_name = |name: &&str| {
        let is_keyword = matches!(*name, "true" | "false" | "null" | "and" | "or" | "in" | "function");
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_plain && !is_keyword && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    };
    let names: Vec<&str> = text.strip_prefix('$')?.split('.').collect();
    let is_path = names.iter().all(is_name);
    is_path.then(|| names.into_iter().map(str::to_owned).collect())
}

/// Numbers without a fraction are integers, though JSONata knows none: `1.0` becomes `1`.
fn whole_numbers(value: &mut Value) {
    /// 2^63: from here on, not every such number is an `i64`.
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < TOO_LARGE);
            if let Some(whole) = whole {
                *number = Number::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(object) => object.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::execution::{Start, Variables};
    use crate::scope::{Context, Random, Visit};

    /// Long, and short enough for a value.
    const TURNS: u64 = MAX_STEPS / LONG;

    fn with_scope<T>(variables: &Value, see: impl FnOnce(&mut Scope) -> T) -> T {
        let start = Start { input: json!({"id": "x", "n": 1.0}), execution_name: "e".into(), ..Start::default() };
        let variables = variables.as_object().into_iter().flatten();
        let variables: Variables = variables.map(|(name, value)| (name.clone(), Arc::new(value.clone()))).collect();
        let context = Context {
            start: &start,
            started_at: Timestamp::UNIX_EPOCH,
            state: "S",
            entered_at: Timestamp::UNIX_EPOCH,
            retry_count: Some(2),
            item: None,
        };
        let input = Arc::new(json!({
            "one": [7], "none": [], "many": [{"a": 1, "b": [1]}, {"a": 2, "b": 3}], "deep": {"a": {"b": {"c": null}}},
            "text": "t", "null": null, "x y": 1, "and": 2
        }));
        let mut random = Random::new(1);
        let now = Timestamp::UNIX_EPOCH;
        let mut visit =
            Visit { context, input: &input, variables: &variables, now, random: &mut random, run_long: |work| work() };
        let result = json!({"Payload": {"n": 3}});
        see(&mut visit.scope(Some(("result", &result))))
    }

    #[test]
    fn what_an_expression_is_shown_is_enough_for_it() {
        let variables = json!({
            "user": {"id": "u", "roles": ["a"]}, "list": [[1, 2], [3]], "count": {"hidden": 1}, "sum": 5, "n": 4
        });
        for text in [
            "$states",
            "$states.input",
            "$states.input.one",
            "$states.input.none",
            "$states.input.many.a",
            "$states.input.many.b",
            "$states.input.many[a = 2].b",
            "$states.input.deep.a.b.c",
            "$states.input.deep.a.b.c.d",
            "$states.input.`null`",
            "$states.input.`x y`",
            "$states.input.and",
            "$states.input.text",
            "$states.input.*",
            "$states.**.a",
            "$states.input.many^(>a).a",
            "$states.input.many{$string(a): b}",
            "$states.input.many.%.text",
            "$states.input.many#$i.{'i': $i, 'a': a}",
            "$states.input.many@$m.$m.b",
            "$states.context",
            "$states.context.State",
            "$states.context.State.RetryCount",
            "$states.context.Execution.Input.n",
            "$states.context.Execution.StartTime",
            "$states.context.Execution.Input",
            "$states.result.Payload",
            "$states.errorOutput.Error",
            "$user",
            "$user.id",
            "$user.roles",
            "$list",
            "$list[0]",
            "$list.$sum($)",
            "$count",
            "$count.hidden",
            "$sum",
            "$sum + 1",
            "$keys($user)",
            "$merge([$user, {'n': $n}])",
            "$lookup($user, 'id')",
            "($x := $user; $x.id)",
            "($f := function($v){$v.id & $n}; $f($user))",
            "$map($list, function($v){$count})",
            "$each($user, function($v, $k){$k})",
            "$spread($user)",
            "$exists($nothing)",
            "$nothing",
            "$string($states.input.deep)",
            "$user ~> |$|{'id': $n}|",
            "$states.input.many ~> $filter(function($v){$v.a > 1})",
            "$reduce([1, 2], function($a, $b){$a + $b + $n})",
            "$type($user)",
            "$parse('[1]')",
            "$partition($list, 1)",
            "$user.($id := id; $id)",
            "[$list, $list][0][0][0]",
            "$distinct($states.input.many.a)",
            "$zip($list, $list)",
            "$sift($user, function($v, $k){$k = 'id'})",
            "$states.input.many.$states.context.State.Name",
            "$not($states.input.none)",
            "$boolean($states.input.deep)",
            "$states.input.one[]",
        ] {
            let expression = Expression::compile(text).expect(text);
            with_scope(&variables, |scope| {
                let whole = Expression { path: None, ..expression.clone() };
                // The same as JSON, all of it.
                let states =
                    Expression::compile("$states").expect("a path").calculate(scope, "F").expect("it is there");
                let mut all = crate::functions::bindings().var("states", states);
                for (name, value) in scope.variables {
                    all = all.var(name.clone(), Value::clone(value));
                }
                let expected = whole.compiled.evaluate_with(None, &all, &Options::new().now(0));
                let expected = expected.ok().flatten().map(|mut value| {
                    whole_numbers(&mut value);
                    value
                });
                assert_eq!(whole.evaluate(scope, "F").ok(), expected, "{text}");
                assert_eq!(expression.evaluate(scope, "F").ok(), expected, "{text} as a path");
            });
        }
    }

    #[test]
    fn integers_stay_integers() {
        for (text, value) in [
            ("$big", "9007199254740993"),
            ("$states.context.Execution.Input.n", "1"),
            ("4 / 2", "2"),
            ("-0.0", "0"),
            ("[1.0, {'a': 2.0}]", r#"[1,{"a":2}]"#),
            ("$power(2, 60)", "1152921504606846976"),
            ("1e30", "1e+30"),
            ("0.5", "0.5"),
        ] {
            let variables = json!({"big": 9_007_199_254_740_993_i64});
            let found = with_scope(&variables, |scope| Expression::compile(text).expect(text).evaluate(scope, "F"));
            assert_eq!(found.expect(text).to_string(), value, "{text}");
        }
    }

    #[test]
    fn an_evaluation_that_goes_on_for_ever_ends() {
        for (text, code) in [
            ("($f := function($n){$f($n + 1)}; $f(0))", "U1006"),
            ("($f := function($n){1 + $f($n + 1)}; $f(0))", "D1011"),
            ("[1..10000000]", "U1001"),
            ("($f := function($s){$f($s & $s)}; $f('ab'))", "U1001"),
        ] {
            let found = with_scope(&json!({}), |scope| Expression::compile(text).expect(text).evaluate(scope, "F"));
            let error = found.expect_err(text);
            assert_eq!(error.name(), "States.QueryEvaluationError");
            assert!(error.cause.as_ref().is_some_and(|cause| cause.contains(code)), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_is_drawn_does_not_depend_on_how_long_an_evaluation_takes() {
        for draws in ["$random()", "$uuid()", "[$random(), $random(), $uuid(), $uuid()]", "$shuffle([1..20])"] {
            let evaluate = |text: &str| {
                with_scope(&json!({}), |scope| Expression::compile(text).expect(text).evaluate(scope, "F")).expect(text)
            };
            let long = format!("($drawn := {draws}; $map([1..{TURNS}], function($i){{$i}}); $drawn)");
            assert_eq!(evaluate(draws), evaluate(&long), "{draws}");
        }
    }

    #[test]
    fn a_long_evaluation_goes_elsewhere_once() {
        thread_local!(static LONG_ONES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
        for (text, expected) in [
            ("$states.input.many.a", 0),
            ("$map([1..10], function($i){$i})", 0),
            (&*format!("$map([1..{TURNS}], function($i){{$i}})"), 1),
            // What is long only in its work, and what has to be looked at twice.
            ("$count($map([1..100], function(){[1..10000]}))", 1),
            (&*format!("($map([1..{TURNS}], function($i){{$i}}); $sum)"), 1),
        ] {
            LONG_ONES.set(0);
            let expression = Expression::compile(text).expect(text);
            let _ = with_scope(&json!({}), |scope| {
                scope.run_long = |work| {
                    LONG_ONES.set(LONG_ONES.get() + 1);
                    work();
                };
                expression.evaluate(scope, "F")
            });
            assert_eq!(LONG_ONES.get(), expected, "{text}");
        }
    }

    #[test]
    fn nothing_and_a_function_are_told_apart() {
        for (text, what) in
            [("$nothing", "returned nothing (undefined)."), ("$sum", "returned an unsupported result type.")]
        {
            let found = with_scope(&json!({}), |scope| Expression::compile(text).expect(text).evaluate(scope, "F"));
            let cause = found.expect_err(text).cause.unwrap_or_default();
            assert_eq!(cause, format!("The JSONata expression '{text}' specified for the field 'F' {what}"));
        }
    }
}
