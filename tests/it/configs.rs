//! The files that the project ships, and the documents that are written from the code.

use std::path::Path;
use std::process::Command;

fn gavel(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// The committed file must be what the code writes; `BLESS=1` writes it.
#[expect(clippy::disallowed_methods, reason = "a test is told to bless by its environment")]
fn is_as_written(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var("BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = committed.lines().zip(text.lines()).find(|(there, here)| there != here);
    assert!(committed == text, "{file} is not what the code says; run with BLESS=1: {differing:?}");
}

#[test]
fn every_configuration_that_is_shipped_loads() {
    let (code, text) = gavel(&["check", "--config", "configs/demo/gavel.toml"]);
    assert_eq!((code, text.as_str()), (0, "ok: 1 partners, 5 bidders, 6 databases in 3 files\n"));
}

#[test]
fn a_check_warns_of_an_empty_configuration_and_names_the_key_of_a_missing_database() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("gavel.toml");
    let check = |text: &str| {
        std::fs::write(&main, text).unwrap();
        let (code, text) = gavel(&["check", "--config", main.to_str().unwrap()]);
        (code, text.replace(dir.path().to_str().unwrap(), "DIR"))
    };
    let (code, text) = check("");
    assert_eq!(code, 0, "{text}");
    for warning in ["warning: no partner", "warning: no bidder"] {
        assert!(text.contains(warning), "{text}");
    }
    let (code, text) = check("[databases]\nisp = 'none.mmdb'\ndevice_regexes = 'none.yaml'\n");
    assert_eq!(code, 78, "{text}");
    for fault in [
        "DIR/gavel.toml: databases.isp: cannot read DIR/none.mmdb: No such file",
        "DIR/gavel.toml: databases.device_regexes, device_models: cannot read DIR/none.yaml: ",
    ] {
        assert!(text.contains(fault), "{text}");
    }
}

#[test]
fn the_configuration_reference_is_what_the_code_reads() {
    let (code, text) = gavel(&["reference"]);
    assert_eq!(code, 0);
    is_as_written("configs/REFERENCE.md", &text);
}

#[test]
fn the_list_of_metrics_is_what_the_code_counts() {
    is_as_written("src/telemetry/METRICS.md", &gavel::telemetry::meters::markdown());
}

#[test]
fn an_operator_can_ask_what_is_loaded_without_a_shell() {
    let demo = ["--config", "configs/demo/gavel.toml"];
    for (question, parts) in [
        (
            vec!["debug", "config"],
            vec![
                "http.listen = \"127.0.0.1:8080\"",
                "partners[0].keys = (secret)",
                "limits.imps_max = 50  # default",
            ],
        ),
        (vec!["debug", "databases"], vec!["City", "device"]),
        (vec!["debug", "ip", "198.18.0.1"], vec!["country"]),
        (
            vec![
                "debug",
                "ua",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            ],
            vec!["Apple", "iOS"],
        ),
    ] {
        let arguments: Vec<&str> = question.iter().copied().chain(demo).collect();
        let (code, text) = gavel(&arguments);
        assert_eq!(code, 0, "{text}");
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: {part} is not in\n{text}");
        }
    }
}
