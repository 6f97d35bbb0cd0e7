use super::*;
use crate::generate::{GenerateSettings, Generator};
use crate::inspect::End;
use crate::slo::evaluate::tests::run as result_of;
use std::time::Duration;

fn args(words: &[&str]) -> JudgeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: JudgeArgs,
    }
    <Line as clap::Parser>::parse_from(["run"].iter().chain(words)).args
}

fn bodies(count: u64, distinct: u64) -> Vec<Vec<u8>> {
    let generator = Generator::new(GenerateSettings { seed: 5, broken: 0.0 });
    let write = |number| {
        let mut body = Vec::new();
        generator.write(number, &mut body);
        body
    };
    (0..count).map(|number| write(number % distinct)).collect()
}

fn show(judge: &mut Judge, bodies: &[Vec<u8>], status: u16) {
    for (number, request) in bodies.iter().enumerate() {
        let planned = Duration::from_millis(number as u64);
        judge.exchange(&Exchange {
            number: number as u64,
            round: 0,
            connection: 0,
            planned,
            sent: Some(planned),
            latency: Duration::from_millis(5),
            partner: "demo",
            path: "/openrtb2/demo",
            request,
            end: End::Answered(status),
            answer: b"",
            announces: false,
            recorded_status: None,
        });
    }
}

fn recorded(bodies: &[Vec<u8>]) -> Summary {
    let mut judge = args(&[]).prepare(None).unwrap();
    show(&mut judge, bodies, 204);
    judge.fingerprint.summary()
}

#[test]
fn a_run_that_holds_passes_and_each_fault_has_its_verdict() {
    let traffic = bodies(200, 200);
    let recording = recorded(&traffic);
    let judged = |words: &[&str], sent: &[Vec<u8>], status, inspected| {
        let mut judge = args(words).prepare(Some(recording.clone())).unwrap();
        show(&mut judge, sent, status);
        let mut result = result_of(&[(10, [5; 10]); 20]);
        result.inspected = inspected;
        let kept = judge.finish(&mut result);
        (result.verdict(), kept.len(), result)
    };
    let all = ["--slo", "p99 < 6ms", "--slo", "errors = 0", "--assert", "all", "--gate"];
    let (verdict, kept, result) = judged(&all, &traffic, 204, 200);
    assert_eq!((verdict, kept), (Verdict::Pass, 0), "{:?}", result.judged.lines());
    let (verdict, _, result) = judged(&["--slo", "p99 < 5ms"], &traffic, 204, 200);
    assert_eq!(verdict, Verdict::Failed, "{:?}", result.judged.lines());
    let (verdict, kept, result) = judged(&["--assert", "status"], &traffic, 500, 200);
    assert_eq!((verdict, kept), (Verdict::Failed, 64), "{:?}", result.judged.lines());
    // one request over and over is no such traffic, whatever the objectives say
    let (verdict, _, result) = judged(&all, &bodies(200, 1), 204, 200);
    assert_eq!(verdict, Verdict::Invalid, "{:?}", result.judged.lines());
    assert!(result.invalid.iter().any(|why| matches!(why, Invalid::Diversity { .. })));
    // what was not looked at was not judged
    let (verdict, _, result) = judged(&["--assert", "all"], &traffic, 204, 197);
    assert_eq!(verdict, Verdict::Invalid, "{:?}", result.invalid);
    assert_eq!(judged(&[], &traffic, 204, 0).0, Verdict::Pass);
    // and the whole goes through a file
    let text = result.to_json();
    let read = RunResult::parse(text.as_bytes(), "x.json".as_ref()).unwrap();
    assert_eq!(read, result);
}

#[test]
fn what_is_asked_wrongly_costs_no_run() {
    let fault = |words: &[&str]| {
        let failure = args(words).prepare(None).unwrap_err();
        assert_eq!(failure.verdict, Verdict::Usage);
        failure.chain()
    };
    assert!(fault(&["--slo", "p99 < 5"]).contains("unit"));
    assert!(fault(&["--slo", "p99 < baseline"]).contains("--baseline"));
    assert!(fault(&["--assert", "flor"]).contains("allowed: all, status"));
    assert!(fault(&["--gate"]).contains("recording"));
    assert!(fault(&["--baseline", "no-such-file"]).contains("no-such-file"));
}
