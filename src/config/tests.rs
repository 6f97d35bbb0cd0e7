//! Whole configurations, right and wrong.

use super::*;

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn partners_bidders_and_rates_are_read_from_all_files() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "bidders.toml",
        "[[bidders]]\nname = 'acme'\nurl = 'https://acme.example/bid?x=1'\n[bidders.targeting]\npartners = ['pub']\n",
    );
    let main = write(
        dir.path(),
        "gavel.toml",
        "include = ['bidders.toml']\n[[partners]]\nname = 'pub'\nopen = true\ncurrency = 'EUR'\n[rates.per_base]\nEUR = 0.9\n",
    );
    let config = load(&main).unwrap();
    assert_eq!(config.rules.partners[0].name, "pub");
    assert_eq!(config.rules.bidders[0].endpoint.path, "/bid?x=1");
    assert!(config.rules.rates.knows(crate::money::Currency::parse("EUR").unwrap()));
    assert_eq!(config.files.len(), 2);
}

#[test]
fn all_faults_of_all_files_come_in_one_report() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "broken.toml", "[[bidders]\n");
    write(
        dir.path(),
        "bidders.toml",
        "[[bidders]]\nname = 'Acme'\nurl = 'acme'\nseats = { allowd = ['x'] }\n[[bidders]]\nname = 'b'\nurl = 'http://b.example/'\ncurrency = 'YYY'\n[bidders.targeting]\npartners = ['pup']\n",
    );
    let main = write(
        dir.path(),
        "gavel.toml",
        "include = ['bidders.toml', 'broken.toml', 'missing.toml']\n[[partners]]\nname = 'pub'\ncurrency = 'XXX'\ntmax_defualt = '1s'\nmargin = '300ms'\n[[partners.creatives_blocked]]\nbidder = 'c'\ncrids = ['1']\n",
    );
    let report = load(&main).unwrap_err().to_string().replace(&shown(dir.path()), "DIR");
    for wanted in [
        "DIR/bidders.toml: bidders[0].name = \"Acme\": must be 1 to 64 of a-z",
        "DIR/bidders.toml: bidders[0].url = \"acme\": must be http:// or https://",
        "bidders[0].seats.allowd = [\"x\"]: must be a known key (did you mean allowed?)",
        "partners[0].keys is missing: must be at least one hash",
        "partners[0].tmax_defualt = \"1s\": must be a known key (did you mean tmax_default?)",
        "partners[0].margin = \"300ms\": must be so small that",
        "DIR/broken.toml: is not TOML",
        "DIR/missing.toml: cannot be read",
        "bidders(b).targeting.partners: \"pup\" is missing: must be a partner (did you mean pub?)",
        "partners(pub).creatives_blocked.bidder: \"c\" is missing: must be a bidder",
        "bidders(b).currency: YYY is missing: must be a currency that has a rate",
        "partners(pub).currency: XXX is missing: must be a currency that has a rate",
    ] {
        assert!(report.contains(wanted), "{wanted:?} is not in:\n{report}");
    }
    assert!(report.starts_with("12 faults"), "{report}");
}

#[test]
fn a_rate_is_divided_by_the_replicas_and_never_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = "replicas = 4\n[[partners]]\nname = 'pub'\nopen = true\nqps = 10\n[[partners]]\nname = 'small'\nopen = true\nqps = 1\n[[partners]]\nname = 'free'\nopen = true\n[[bidders]]\nname = 'b'\nurl = 'http://b.example/'\nlimits = { qps = 400 }\n";
    let config = load(&write(dir.path(), "gavel.toml", text)).unwrap();
    let rates: Vec<_> = config.rules.partners.iter().map(|partner| partner.qps).collect();
    assert_eq!(rates, [Some(2), Some(1), None]);
    assert_eq!(config.rules.bidders[0].limits.qps, Some(100));
}

#[test]
fn a_document_of_sellers_is_checked_to_be_json() {
    let dir = tempfile::tempdir().unwrap();
    let main = write(dir.path(), "gavel.toml", "sellers_json = 'sellers.json'\n");
    let fault = || load(&main).unwrap_err().to_string();
    assert!(fault().contains("sellers_json = \"sellers.json\": must be a JSON file: "));
    write(dir.path(), "sellers.json", "{\"sellers\":[]");
    assert!(fault().contains("EOF while parsing"), "{}", fault());
    write(dir.path(), "sellers.json", "{\"sellers\":[]}");
    assert_eq!(load(&main).unwrap().rules.sellers.unwrap(), "{\"sellers\":[]}");
}
