//! Expressions that would take all the time there is. Each runs in a process of its own with limits on time and memory. It
//! must end as an error that the workflow can catch, or, where nothing that is counted ends it, stall as soon as its engine
//! gives it up.
//!
//! Not among them is what nothing ends: a single call of a function that goes through a value which holds itself many times
//! over (`$boolean`), or that compares each item with each (`$distinct`), and many large values that are all kept.

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use asl::{Definition, Execution, ExecutionStart, Outcome};
use serde_json::{Value, json};

/// Kilobytes of address space: what a process of this test takes by itself, and some 400 MB.
const MAX_KILOBYTES: u32 = 512 * 1024;
/// Seconds of processor time in a debug build.
const MAX_SECONDS: u32 = 20;
/// How long an evaluation may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a reason begins with if the execution stalled.
const STALLED: &str = "stalled: ";
/// Tells a process which bomb to set off.
const GO_OFF: &str = "--go-off";

/// How a bomb ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The evaluation succeeds, in spite of its size.
    Succeeds,
    /// It fails with this code, by what is counted.
    Fails(&'static str),
    /// Nothing that is counted ends it, or not soon; it stalls when its engine gives it up.
    Stalls,
}

use End::{Fails, Stalls, Succeeds};

const BOMBS: &[(&str, End)] = &[
    // Without end.
    ("($f := function($n){$f($n + 1)}; $f(0))", Fails("U1006")),
    ("($f := function($n){1 + $f($n + 1)}; $f(0))", Fails("D1011")),
    // One large thing.
    ("[1..10000000]", Fails("U1001")),
    ("[1..32769]", Fails("U1001")),
    ("$pad('', 9000000, 'x')", Fails("U1001")),
    ("($f := function($s){$f($s & $s)}; $f('ab'))", Fails("U1001")),
    ("$map([1..32768], function(){$pad('', 1000000, 'x')})", Fails("U1001")),
    ("$map([1..100000], function($i){$sort([1..32768])})", Fails("U1001")),
    ("$map([1..30000], function($i){{'a': [$i], 'b': [[$i]], 'c': {'d': {'e': $i}}}})", Fails("U1006")),
    ("($a := {'a': [1..32768]}; $map([1..32768], function(){$a}).a)", Fails("U1001")),
    ("($a := [1..1000]; $zip($a, $a, $a, $a) ~> $map(function(){$zip($a, $a, $a, $a)}))", Fails("U1001")),
    ("$join($map([1..32768], function(){$pad('', 100, 'x')}))", Fails("U1001")),
    ("$split($pad('', 500000, 'x'), '')", Fails("U1001")),
    // Every item with every other.
    ("$count($keys($map([1..10000], function($i){{$string($i): 1}})))", Succeeds),
    ("($a := [1..32768]; $a[$a])", Succeeds),
    // Variables behind a hundred thousand scopes.
    (
        "($f := function($g, $n){$n = 0 ? $g : ($h := function(){$g}; $f($h, $n - 1))}; $x := 1; $g := $f(1, 100000); \
         $c := function($e, $n){$n = 0 ? function(){$x} : $c($e, $n - 1)}; $map([1..30000], function(){$c(1, 100)()}))",
        Fails("U1006"),
    ),
    // What holds itself many times, as a result or as text.
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $string($f([0], 60)))", Fails("U1001")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $f([0], 60))", Fails("U1001")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $parse($f([0], 60)))", Fails("U1001")),
    ("($f := function($x, $n){$n = 0 ? $x : $f({'a': $x, 'b': $x}, $n - 1)}; $f(0, 60).**)", Fails("U1001")),
    // Regular expressions.
    ("$contains($pad('', 40, 'a') & '!', /^(a+)+$/)", Stalls),
    ("$contains($pad('', 100, 'a'), /((((a{1,100}){1,100}){1,100}){1,100}){1,100}b/)", Stalls),
    ("$map([1..30000], function($i){$contains($pad('', 1000, 'x'), /(x+x+)+y/)})", Stalls),
    // A linear function again and again.
    ("($a := [1..32768]; $map($a, function(){$count($reverse($a))}))", Stalls),
    ("($a := [1..32768]; $map($a, function(){$sum($a)}))", Stalls),
    ("($a := [1..32768]; $map($a, function(){$count($sort($a))}))", Stalls),
    ("$filter([1..32768], function($i){-$i in [1..32768]})", Stalls),
    ("($a := [1..32768]; $b := [1..32768]; $filter($a, function(){$a != $b}))", Stalls),
    ("($s := $pad('', 500000, 'x'); $map([1..30000], function(){$hash($s, 'MD5')}))", Stalls),
    ("($a := [1..30000]; $map($a, function(){$count($partition($a, 1))}))", Stalls),
    ("($a := [1..30000]; $map($a, function(){$string([[$a]]) != ''}))", Stalls),
];

/// Too long to be written down. What nests too deeply is refused with the definition.
fn written_out() -> Vec<(String, End)> {
    // A definition is a mebibyte at most.
    let megabyte = 1_000_000;
    vec![
        (format!("$length('{}')", "x".repeat(megabyte)), Succeeds),
        (format!("$count([{}1])", "1,".repeat(megabyte / 2)), Fails("U1001")),
        (format!("1{}", "+1".repeat(megabyte / 2)), Fails("U1001")),
        (format!("{}1{}", "(".repeat(megabyte / 2), ")".repeat(megabyte / 2)), Fails("U1001")),
        (format!("{}1{}", "[".repeat(megabyte / 2), "]".repeat(megabyte / 2)), Fails("U1001")),
        (format!("$x{}", ".a".repeat(megabyte / 2)), Fails("U1001")),
        (format!("$contains('a', /{}/)", "(a|b)*".repeat(megabyte / 10)), Fails("S0302")),
    ]
}

fn bombs() -> Vec<(String, End)> {
    BOMBS.iter().map(|(text, end)| ((*text).to_owned(), *end)).chain(written_out()).collect()
}

/// Sets a bomb off: the cause of its `States.QueryEvaluationError`, or why the execution stalled.
fn set_off(text: &str) -> Result<(), String> {
    let definition = json!({
        "QueryLanguage": "JSONata", "StartAt": "S",
        "States": {"S": {"Type": "Pass", "Output": format!("{{% {text} %}}"), "End": true}}
    });
    // What is refused at once has gone off, too.
    let definition = Definition::load(&definition.to_string()).map_err(|diagnostics| diagnostics.to_string())?;
    let execution = Execution::start(
        Arc::new(definition.stall_after(PATIENCE)),
        ExecutionStart { input: Value::Null, ..ExecutionStart::default() },
        jiff::Timestamp::UNIX_EPOCH,
    );
    if let Some(reason) = execution.stalled() {
        return Err(format!("{STALLED}{reason}"));
    }
    match execution.outcome() {
        Some(Outcome::Failed { error: Some(error), cause }) if error == "States.QueryEvaluationError" => {
            Err(cause.clone().unwrap_or_default())
        }
        Some(Outcome::Failed { error: Some(error), .. }) if error == "States.DataLimitExceeded" => Ok(()),
        Some(Outcome::Succeeded { .. }) => Ok(()),
        other => panic!("{other:?}"),
    }
}

/// Sets off one bomb, in the process that is limited.
fn go_off(index: usize) -> ExitCode {
    let (text, due) = &bombs()[index];
    let ended = set_off(text);
    match (&ended, due) {
        (Ok(()), Succeeds) => ExitCode::SUCCESS,
        (Err(cause), Fails(code)) if cause.contains(code) && !cause.starts_with(STALLED) => ExitCode::SUCCESS,
        (Err(reason), Stalls) if reason.starts_with(STALLED) => ExitCode::SUCCESS,
        _ => {
            let cause = ended.err().unwrap_or_default();
            let end = cause.char_indices().rev().nth(150).map_or(0, |(at, _)| at);
            eprintln!("{due:?} was due, but there was: {}", &cause[end..]);
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, index] = &arguments[..]
        && flag == GO_OFF
    {
        return go_off(index.parse().expect("an index"));
    }
    let limits = format!("ulimit -v {MAX_KILOBYTES} && ulimit -t {MAX_SECONDS} && exec \"$0\" {GO_OFF} \"$1\"");
    let bombs = bombs();
    let mut failed = 0;
    for (index, (text, _)) in bombs.iter().enumerate() {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&limits).arg(&arguments[0]).arg(index.to_string());
        let output = command.output().expect("sh");
        if !output.status.success() {
            failed += 1;
            let text: String = text.chars().take(150).collect();
            eprintln!("{text}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
    }
    println!("bombs: {} went off, {failed} of them did harm", bombs.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
