//! Expressions that would take all the time or all the memory there is. Each runs in a process of its own with limits
//! on both, and must end as an error that the workflow can catch.

use std::process::{Command, ExitCode};
use std::sync::Arc;

use asl::{Definition, Execution, Outcome, Start};
use serde_json::{Value, json};

/// Kilobytes of address space: what a process of this test takes by itself, and some 400 MB.
const MAX_KILOBYTES: u32 = 512 * 1024;
/// Seconds of processor time in a debug build, where a bomb takes one or two.
const MAX_SECONDS: u32 = 20;
/// Tells a process which bomb to set off.
const GO_OFF: &str = "--go-off";

/// What goes off, and the code of the error; none where the evaluation is to succeed in spite of its size.
const BOMBS: &[(&str, Option<&str>)] = &[
    // Without end.
    ("($f := function($n){$f($n + 1)}; $f(0))", Some("U1006")),
    ("($f := function($n){1 + $f($n + 1)}; $f(0))", Some("D1011")),
    // One large thing.
    ("[1..10000000]", Some("U1001")),
    ("[1..131073]", Some("U1001")),
    ("$pad('', 9000000, 'x')", Some("U1001")),
    ("($f := function($s){$f($s & $s)}; $f('ab'))", Some("U1001")),
    ("$replace($pad('', 500000, 'a'), 'a', $pad('', 500000, 'b'))", Some("U1001")),
    ("$replace($pad('', 500000, 'a'), /a+/, $pad('', 500000, '$0'))", Some("U1001")),
    // Every item with every other.
    ("$count($distinct([1..131072]))", None),
    ("$count($distinct($map([1..30000], $string)))", None),
    ("$count($keys($map([1..30000], function($i){{$string($i): 1}})))", None),
    ("$count($distinct($map([1..30000], function($i){{'a': $i}})))", Some("U1006")),
    ("$filter([1..131072], function($i){-$i in [1..131072]})", Some("U1006")),
    ("($a := [1..131072]; $filter($a, function($i){-$i in $a}))", Some("U1006")),
    ("($a := [1..131072]; $b := [1..131072]; $filter($a, function(){$a != $b}))", Some("U1006")),
    ("($a := [1..131072]; $a[$a])", None),
    ("($a := [1..131071]; $a[$append($, $a)])", Some("U1006")),
    // A linear function again and again.
    ("$map([1..100000], function($i){$sort([1..131072])})", Some("U1006")),
    ("($a := [1..131072]; $map($a, function(){$count($reverse($a))}))", Some("U1006")),
    ("($a := [1..131072]; $map($a, function(){$sum($a)}))", Some("U1006")),
    (
        "($a := $map([1..1000], function(){[1..131]}); $b := $map([1..100000], function(){$a}); $map($b, $reverse))",
        Some("U1006"),
    ),
    ("($s := $pad('', 1000000, 'x'); $map([1..100000], function(){$length($s)}))", Some("U1006")),
    ("($s := $pad('', 1000000, 'x'); $map([1..100000], function(){$s & '' = $s}))", Some("U1006")),
    ("($s := $pad('', 1000000, 'x'); $map([1..100000], function(){$contains($s, 'y')}))", Some("U1006")),
    ("($s := $pad('', 1000000, 'x'); $map([1..100000], function(){$split($s, 'y')[0] = $s}))", Some("U1006")),
    ("($s := $pad('', 1000000, 'x'); $map([1..100000], function(){$hash($s, 'MD5')}))", Some("U1006")),
    ("($s := $pad('', 1000000, 'x'); $map([1..1000], function(){$s})^($))", Some("U1006")),
    ("($s := $pad('', 1000000, 'x'); $sort($map([1..1000], function(){$s & ''})))", Some("U1006")),
    ("($a := [1..100000]; $map($a, function(){$partition($a, 1)}))", Some("U1006")),
    ("($a := [1..100000]; $map($a, function(){$clone([[$a]])}))", Some("U1006")),
    ("($a := [1..100000]; $map($a, function(){$string([[$a]]) != ''}))", Some("U1006")),
    ("($a := {'a': [1..10000]}; $map([1..100000], function(){$a ~> |$|{'b': 1}|}))", Some("U1006")),
    (
        "($f := function($a, $n){$n = 0 ? $a : $f([[$a]], $n - 1)}; $a := $f([], 20000); $map([1..20000], function(){$boolean($a)}))",
        Some("U1006"),
    ),
    // Variables behind a hundred thousand scopes.
    (
        "($f := function($g, $n){$n = 0 ? $g : ($h := function(){$g}; $f($h, $n - 1))}; $x := 1; $g := $f(1, 100000); \
         $c := function($e, $n){$n = 0 ? function(){$x} : $c($e, $n - 1)}; $map([1..100000], function(){$c(1, 100)()}))",
        Some("U1006"),
    ),
    // Memory that stays.
    ("$map([1..5000], function(){$pad('', 1000000, 'x')})", Some("U1006")),
    ("$map([1..5000], function(){[[1..131072]]})", Some("U1006")),
    ("$map([1..100000], function($i){{'a': [$i], 'b': [[$i]], 'c': {'d': {'e': $i}}}})", Some("U1006")),
    ("($a := {'a': [1..131072]}; $lookup($map([1..131072], function(){$a}), 'a'))", Some("U1006")),
    ("($a := {'a': [1..131072]}; $map([1..131072], function(){$a}).a)", Some("U1001")),
    (
        "($o := $merge($map([1..20000], function($i){{$string($i): $i}})); $merge($map([1..20000], function(){$o})))",
        Some("U1006"),
    ),
    (
        "($o := $merge($map([1..20000], function($i){{$string($i): $i}})); $spread($map([1..20000], function(){$o})))",
        Some("U1006"),
    ),
    ("($a := [1..1000]; $zip($a, $a, $a, $a) ~> $map(function(){$zip($a, $a, $a, $a)}))", Some("U1006")),
    ("[1..100000]@$a.[1..100000]@$b.{'a': $a, 'b': $b}", Some("U1001")),
    ("$join($map([1..131072], function(){$pad('', 100, 'x')}))", Some("U1001")),
    ("$split($pad('', 1000000, 'x'), '')", Some("U1001")),
    // What holds itself many times.
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $boolean($f([0], 60)))", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $f([0], 60) ? 1 : 2)", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $f([0], 60) = $f([0], 60))", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $f([0], 60).x)", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $keys($f([{}], 60)))", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $lookup($f([{}], 60), 'x'))", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $spread($f([{}], 60)))", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $f([], 60).**)", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $string($f([0], 60)))", Some("U1001")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $f([0], 60))", Some("U1001")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; $parse($f([0], 60)))", Some("U1001")),
    ("($f := function($x, $n){$n = 0 ? $x : $f([[$x], [$x]], $n - 1)}; -$f([0], 60))", Some("D1002")),
    ("($f := function($x, $n){$n = 0 ? $x : $f({'a': $x, 'b': $x}, $n - 1)}; $f(0, 60) = $f(0, 60))", Some("U1006")),
    ("($f := function($x, $n){$n = 0 ? $x : $f({'a': $x, 'b': $x}, $n - 1)}; $f(0, 60).**)", Some("U1001")),
    // Regular expressions.
    ("$contains($pad('', 40, 'a') & '!', /^(a+)+$/)", Some("U1006")),
    ("$match($pad('', 1000000, 'a'), /a/)", Some("U1006")),
    ("$replace($pad('', 1000000, 'a'), /a/, 'b')", Some("U1006")),
    ("$split($pad('', 1000000, 'a'), /a/)", Some("U1006")),
    ("($s := $pad('', 1000000, 'x'); $map([1..100000], function(){$contains($s, /y/)}))", Some("U1006")),
    ("$map([1..100000], function($i){$contains($pad('', 1000, 'x'), /(x+x+)+y/)})", Some("U1006")),
];

/// Too long to be written down. What nests too deeply is refused with the definition.
fn written_out() -> Vec<(String, Option<&'static str>)> {
    // A definition is a mebibyte at most.
    let megabyte = 1_000_000;
    vec![
        (format!("$length('{}')", "x".repeat(megabyte)), None),
        (format!("$count([{}1])", "1,".repeat(megabyte / 2)), Some("U1001")),
        (format!("1{}", "+1".repeat(megabyte / 2)), Some("U1001")),
        (format!("{}1{}", "(".repeat(megabyte / 2), ")".repeat(megabyte / 2)), Some("U1001")),
        (format!("{}1{}", "[".repeat(megabyte / 2), "]".repeat(megabyte / 2)), Some("U1001")),
        (format!("$x{}", ".a".repeat(megabyte / 2)), Some("U1001")),
        (format!("$contains('a', /{}/)", "(a|b)*".repeat(megabyte / 10)), Some("S0302")),
        ("$contains($pad('', 100, 'a'), /((((a{1,100}){1,100}){1,100}){1,100}){1,100}b/)".to_owned(), Some("U1006")),
    ]
}

fn bombs() -> Vec<(String, Option<&'static str>)> {
    BOMBS.iter().map(|(text, code)| ((*text).to_owned(), *code)).chain(written_out()).collect()
}

/// How the evaluation ends: nothing in particular, or the cause of a `States.QueryEvaluationError`.
fn set_off(text: &str) -> Result<(), String> {
    let definition = json!({
        "QueryLanguage": "JSONata", "StartAt": "S",
        "States": {"S": {"Type": "Pass", "Output": format!("{{% {text} %}}"), "End": true}}
    });
    // What is refused at once has gone off, too.
    let definition = Definition::load(&definition.to_string()).map_err(|diagnostics| diagnostics.to_string())?;
    let execution = Execution::start(
        Arc::new(definition),
        Start { input: Value::Null, ..Start::default() },
        jiff::Timestamp::UNIX_EPOCH,
    );
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
    let found = set_off(text);
    match (&found, due) {
        (Ok(()), None) => ExitCode::SUCCESS,
        (Err(cause), Some(code)) if cause.contains(code) => ExitCode::SUCCESS,
        _ => {
            let cause = found.err().unwrap_or_default();
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
