//! Compiled JSONata expressions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jlens_core::reads::{Read, Reads};
use jlens_core::{Bindings, Expression as Jsonata, Options};
use serde_json::{Number, Value};

use crate::MAX_PAYLOAD_BYTES;
use crate::error::StateError;
use crate::in_place;
use crate::scope::Scope;

/// Steps of one evaluation at most: some 25 for each of 10,000 items. Counted, not timed, so that every machine decides
/// alike.
const MAX_STEPS: u64 = 250_000;
/// Beyond this part of its steps an evaluation is long: some milliseconds.
const LONG: u64 = 50;
/// And beyond this part of what whoever drives the execution waits for.
const LONG_TIME: u32 = 1_000;
/// What `jlens_core` calls an evaluation that took more steps than it may, and one that took more time.
const TOO_MANY_STEPS: &str = "U1006";
const TOO_MUCH_TIME: &str = "D1012";
/// Nesting of one evaluation at most.
const MAX_DEPTH: usize = 500;
/// Bytes of one value at most: nothing larger than half of it could leave a state, and as text it may need twice the room.
const MAX_VALUE_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;
/// Items of one array that an expression builds at most. Some functions compare each with each: with so many that takes
/// seconds, during which nothing stops them.
const MAX_ARRAY_ITEMS: usize = MAX_PAYLOAD_BYTES / 8;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    /// Without the marks and the spaces next to them; error texts quote it.
    text: String,
    compiled: Jsonata,
    /// The same, in a form that reads variables where they are; none if it reads a context, of which there is none then.
    in_place: Option<InPlace>,
    /// Its names, if it is nothing but a path: `$states.input.user.id`.
    path: Option<Vec<String>>,
    /// Whether it may ask for random numbers.
    is_random: bool,
}

/// An expression that takes its variables from the fields of its input: `($a := a; $b := b; (...))`.
#[derive(Debug, Clone)]
struct InPlace {
    assignments: String,
    compiled: Jsonata,
}

impl InPlace {
    fn compile(text: &str, reads: &Reads) -> Option<Self> {
        if reads.every_binding() || reads.input().is_some_and(|read| !is_only_grouped(read, text)) {
            return None;
        }
        let functions = crate::functions::with_random(crate::functions::bindings(), 0);
        let names = reads.bindings().keys().filter(|name| functions.get_function(name).is_none());
        let assignments: String = names.map(|name| format!("${name} := `{name}`; ")).collect();
        let compiled = Self::of(&assignments, text).ok()?;
        Some(Self { assignments, compiled })
    }

    /// Another expression, with the same variables.
    fn of(assignments: &str, text: &str) -> Result<Jsonata, jlens_core::Error> {
        Jsonata::compile(&format!("({assignments}({text}\n))"))
    }
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
    /// The expression, and what it may read.
    pub(crate) fn compile(text: &str) -> Result<(Self, Reads), jlens_core::Error> {
        let compiled = Jsonata::compile(text)?;
        let reads = compiled.reads_with(&crate::functions::with_random(crate::functions::bindings(), 0));
        let is_random = ["$random", "$uuid", "$shuffle"].iter().any(|name| text.contains(name));
        let in_place = InPlace::compile(text, &reads);
        Ok((Self { text: text.to_owned(), compiled, in_place, path: path(text), is_random }, reads))
    }

    /// Without the marks.
    pub(crate) fn text(&self) -> &str {
        &self.text
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
        let (now, patience) = (scope.now.as_millisecond(), scope.patience);
        let mut result = {
            let options = Self::options(now, seed, MAX_STEPS / LONG, patience.limit.map(|limit| limit / LONG_TIME));
            self.attempt(scope, seed, &options)
        };
        if result.as_ref().is_err_and(|error| [TOO_MANY_STEPS, TOO_MUCH_TIME].contains(&error.code())) {
            // The same from its beginning: most expressions are over before.
            let options = Self::options(now, seed, MAX_STEPS, patience.limit);
            (patience.run_long)(&mut || result = self.attempt(scope, seed, &options));
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
                let failure = self.fail(field, &what);
                if error.code() == TOO_MUCH_TIME {
                    scope.stall(failure.cause.as_deref().unwrap_or_default());
                }
                Err(failure)
            }
        }
    }

    fn options(now: i64, seed: Option<u64>, max_steps: u64, max_time: Option<Duration>) -> Options {
        let mut options = Options::new()
            .now(now)
            .max_steps(max_steps)
            .max_depth(MAX_DEPTH)
            .max_string_length(MAX_VALUE_BYTES)
            .max_result_size(MAX_VALUE_BYTES)
            .max_array_length(MAX_ARRAY_ITEMS);
        options.seed = seed;
        options.timeout = max_time;
        options
    }

    /// Evaluates once. What is drawn depends on the seed alone, not on the attempts before.
    fn attempt(&self, scope: &Scope, seed: Option<u64>, options: &Options) -> Result<Evaluated, jlens_core::Error> {
        // JSON knows no functions, so an expression that gives one seems to give nothing.
        let kind = || format!("$type(({}\n))", self.text);
        let (value, kind) = match self.in_place.as_ref().filter(|_| !scope.hides_functions()) {
            Some(InPlace { assignments, compiled }) => {
                let evaluate = |expression: &Jsonata| Self::evaluate_in_place(expression, scope, seed, options);
                match evaluate(compiled)? {
                    None => (None, evaluate(&InPlace::of(assignments, &kind())?)?),
                    value => (value, None),
                }
            }
            None => {
                let bindings = with_seed(scope.bindings().clone(), seed);
                let evaluate = |expression: &Jsonata| expression.evaluate_with(None, &bindings, options);
                match evaluate(&self.compiled)? {
                    None => (None, evaluate(&Jsonata::compile(&kind())?)?),
                    value => (value, None),
                }
            }
        };
        Ok(match value {
            Some(value) => Evaluated::Value(value),
            None if kind.is_some_and(|kind| kind == "function") => Evaluated::Function,
            None => Evaluated::Nothing,
        })
    }

    fn evaluate_in_place(
        expression: &Jsonata,
        scope: &Scope,
        seed: Option<u64>,
        options: &Options,
    ) -> Result<Option<Value>, jlens_core::Error> {
        let functions = with_seed(crate::functions::bindings(), seed);
        let variables = in_place::VariableSource::of(scope);
        let mut json = in_place::ResultBuilder::new(&variables, MAX_VALUE_BYTES);
        let value = expression.evaluate_source_to(&variables, &functions, options, |output| output.write(&mut json))?;
        match json.is_too_large {
            true => Err(jlens_core::Error::new("U1001").with("message", "The result would exceed the size limit")),
            false => Ok(value),
        }
    }

    fn fail(&self, field: &str, what: &str) -> StateError {
        let cause = format!("The JSONata expression '{}' specified for the field '{field}' {what}", self.text);
        StateError::evaluation(cause, field)
    }
}

/// Whether the context is read by object constructors only, which make the same of one that is an object as of none:
/// nothing else names it, and no function may take it in the place of an argument.
fn is_only_grouped(read: &Read, text: &str) -> bool {
    let is_name = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let names_context = text.split('$').skip(1).any(|rest| !is_name(rest));
    read.fields().is_some_and(BTreeMap::is_empty) && !names_context && !text.contains("()")
}

fn with_seed(bindings: Bindings, seed: Option<u64>) -> Bindings {
    match seed {
        Some(seed) => crate::functions::with_random(bindings, seed),
        None => bindings,
    }
}

/// Whether this field of `$states` is read.
pub(crate) fn is_state_field_read(reads: &Reads, name: &str) -> bool {
    let states = reads.binding("states").and_then(Read::fields);
    states.is_some_and(|fields| fields.contains_key(name))
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
    use crate::patience::Patience;
    use crate::random::Random;
    use crate::scope::{Context, Variables, Visit};
    use crate::start::ExecutionStart;

    /// Long, and short enough for a value.
    const TURNS: u64 = MAX_STEPS / LONG;

    fn with_scope<T>(variables: &Value, reads: &Reads, see: impl FnOnce(&mut Scope) -> T) -> T {
        let start = ExecutionStart {
            input: json!({"id": "x", "n": 1.0}),
            execution_name: "e".into(),
            ..ExecutionStart::default()
        };
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
        let mut visit = Visit {
            context,
            input: &input,
            variables: &variables,
            reads,
            now,
            random: &mut random,
            patience: Patience::default(),
            stalled: &mut None,
        };
        let result = json!({"Payload": {"n": 3}});
        see(&mut visit.scope(Some(("result", &result))))
    }

    fn evaluate(text: &str, variables: &Value) -> Result<Value, StateError> {
        let (expression, reads) = Expression::compile(text).expect(text);
        with_scope(variables, &reads, |scope| expression.evaluate(scope, "F"))
    }

    #[test]
    fn what_an_expression_is_shown_is_enough_for_it() {
        let variables = json!({
            "user": {"id": "u", "roles": ["a"]}, "list": [[1, 2], [3]], "count": {"hidden": 1}, "sum": 5, "n": 4
        });
        let (_, everything) = Expression::compile("$states").expect("a path");
        let states = with_scope(&variables, &everything, |scope| scope.bindings().get("states").cloned());
        let states = states.expect("it is there");
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
            "$exists($)",
            "$exists($$)",
            "$count($)",
            "$type($)",
            "[{'a': $user.id}, $boolean()]",
            "{'a': $not(), 'b': $list}",
            "[$user, {'n': $n, 'o': {'p': $list[$ = 3]}}]",
            "id",
            "[id, $user.id]",
        ] {
            let (expression, reads) = Expression::compile(text).expect(text);
            with_scope(&variables, &reads, |scope| {
                let whole = Expression { path: None, ..expression.clone() };
                // All that there is.
                let mut all = crate::functions::bindings().var("states", states.clone());
                for (name, value) in variables.as_object().into_iter().flatten() {
                    all = all.var(name.clone(), value.clone());
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
            assert_eq!(evaluate(text, &variables).expect(text).to_string(), value, "{text}");
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
            let error = evaluate(text, &json!({})).expect_err(text);
            assert_eq!(error.name(), "States.QueryEvaluationError");
            assert!(error.cause.as_ref().is_some_and(|cause| cause.contains(code)), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_is_drawn_does_not_depend_on_how_long_an_evaluation_takes() {
        for draws in ["$random()", "$uuid()", "[$random(), $random(), $uuid(), $uuid()]", "$shuffle([1..20])"] {
            let evaluate = |text: &str| evaluate(text, &json!({})).expect(text);
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
            // What has to be looked at twice.
            (&*format!("($map([1..{TURNS}], function($i){{$i}}); $sum)"), 1),
        ] {
            LONG_ONES.set(0);
            let (expression, reads) = Expression::compile(text).expect(text);
            let _ = with_scope(&json!({}), &reads, |scope| {
                scope.patience.run_long = |work| {
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
            let cause = evaluate(text, &json!({})).expect_err(text).cause.unwrap_or_default();
            assert_eq!(cause, format!("The JSONata expression '{text}' specified for the field 'F' {what}"));
        }
    }
}
