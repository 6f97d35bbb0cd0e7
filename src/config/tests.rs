//! Whole configurations, right and wrong.

use super::*;
use crate::openrtb::ids::Country;
use crate::privacy::PrivacySettings;

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
fn a_secret_of_another_file_is_read_watched_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "token", "nightingale\n");
    let text = "[[bidders]]\nname = 'b'\nurl = 'http://b.example/'\n\
                headers = ['Authorization: Bearer ${file:token}']\n";
    write(dir.path(), "bidders.toml", text);
    let main = write(dir.path(), "gavel.toml", "include = ['bidders.toml']\n");
    let config = load(&main).unwrap();
    let expected = ("authorization".to_owned(), "Bearer nightingale".to_owned());
    assert_eq!(config.rules.bidders[0].wire.headers, [expected]);
    assert!(config.files.contains(&dir.path().join("token")), "{:?}", config.files);
    assert!(!reference::effective(&config.rows).contains("nightingale"));
    // one that cannot stand in a header
    write(dir.path(), "token", "nightingale\u{7f}");
    let report = load(&main).unwrap_err().to_string();
    assert!(
        report.contains("bidders[0].headers[0]") && !report.contains("nightingale"),
        "{report}"
    );
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
        "bidders[0].seats.allowd: must be a known key (did you mean allowed?)",
        "partners[0].keys is missing: must be at least one hash",
        "partners[0].tmax_defualt: must be a known key (did you mean tmax_default?)",
        "partners[0].margin = \"300ms\": must be so small that",
        "DIR/broken.toml: is not TOML",
        "DIR/missing.toml: cannot be read",
        "DIR/bidders.toml: bidders[1].targeting.partners = \"pup\": must be a partner's name (did you mean pub?)",
        "DIR/gavel.toml: partners[0].creatives_blocked[0].bidder = \"c\": must be a bidder's name",
        "DIR/bidders.toml: bidders[1].currency = \"YYY\": must be a currency that has a rate",
        "DIR/gavel.toml: partners[0].currency = \"XXX\": must be a currency that has a rate",
    ] {
        assert!(report.contains(wanted), "{wanted:?} is not in:\n{report}");
    }
    assert!(report.starts_with("12 faults"), "{report}");
}

#[test]
fn what_is_taken_is_told_also_of_an_entry_that_has_other_faults() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "s".repeat(32);
    let text = format!(
        "[[bidders]]\nname = 'b'\nurl = 'http://b.example/'\n[[bidders]]\nname = 'b'\nurl = 'b'\n\
         targeting = {{ partners = ['p'] }}\n\
         [[partners]]\nname = 'p'\nopen = 7\n[[partners]]\nname = 'p'\n\
         [[events.keys]]\nid = 3\nsecret = '{secret}'\n[[events.keys]]\nid = 3\nsecret = 'short'\nnew = 1\n"
    );
    let report = load(&write(dir.path(), "gavel.toml", &text)).unwrap_err().to_string();
    for wanted in [
        "bidders[1].name = \"b\": must be a name of its own, and `bidders[0]`",
        "bidders[1].url = \"b\": must be",
        "partners[1].name = \"p\": must be a name of its own, and `partners[0]`",
        "events.keys[1].id = 3: must be a number that no other key has",
        "events.keys[1].secret",
        "events.keys[1].new: must be a known key",
    ] {
        assert!(report.contains(wanted), "{wanted:?} is not in:\n{report}");
    }
    assert!(!report.contains("a partner's name"), "{report}");
}

#[test]
fn what_can_be_read_of_a_faulty_file_is_known_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let text = "workers = 7\n[admin]\nlisten = '127.0.0.1:7'\n[databases]\ncity = 'c.mmdb'\n";
    let main = write(dir.path(), "gavel.toml", text);
    let Reading { result, named } = read_from(&main, &Files::on_disk());
    let named = named.unwrap();
    assert!(result.is_err());
    assert_eq!(named.admin, AdminAddress::Tcp(([127, 0, 0, 1], 7).into()));
    assert_eq!(named.databases.city, Some(dir.path().join("c.mmdb")));
    write(dir.path(), "gavel.toml", "[");
    assert!(read_from(&main, &Files::on_disk()).named.is_none());
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
fn where_the_gdpr_applies_is_a_list_with_a_default_that_may_be_empty() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| load(&write(dir.path(), "gavel.toml", text));
    let countries = |list: &[&[u8; 3]]| list.iter().map(|code| Country(**code)).collect();
    for (text, expected) in [
        ("", PrivacySettings::default()),
        ("[privacy]\n", PrivacySettings::default()),
        ("[privacy]\ngdpr_countries = []", PrivacySettings::new(Vec::new())),
        (
            "[privacy]\ngdpr_countries = ['usa', 'BRA']",
            PrivacySettings::new(countries(&[b"BRA", b"USA"])),
        ),
    ] {
        assert_eq!(read(text).unwrap().rules.privacy, expected, "{text}");
    }
    let report = read("[privacy]\ngdpr_countries = ['DE', 'FRA']").unwrap_err().to_string();
    assert!(
        report.contains("privacy.gdpr_countries[0] = \"DE\": must be an ISO 3166-1"),
        "{report}"
    );
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

/// The report of `gavel.toml` and `more.toml`, which it includes.
fn report(main: &str, more: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "more.toml", more);
    let main = write(dir.path(), "gavel.toml", &format!("include = ['more.toml']\n{main}"));
    load(&main).map_or_else(
        |report| report.to_string().replace(&shown(dir.path()), "DIR"),
        |_| String::new(),
    )
}

#[test]
fn take_rates_deals_floors_and_the_age_of_rates_are_read_and_their_faults_named() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let text = format!("[[partners]]\nname = 'pub'\nopen = true\n{text}");
        load(&write(dir.path(), "gavel.toml", &text)).map_err(|report| report.to_string())
    };
    let good = "take_rate = 12.5\ndeal_take_rate = 1\n\
        publishers = [{ id = 'p1', take_rate = 0.07 }]\ndeals = [{ id = 'd', tier = 1 }]\n\
        [[partners.floors]]\nfloor = 1\ndomains = ['News.example.']\n\
        [[floors]]\nfloor = 2\nsoft_floor = 3\ncurrency = 'EUR'\nsizes = ['300x250']\n\
        [rates]\nas_of = 2026-01-02T03:04:05+01:00\nage_max = '48h'\n[rates.per_base]\nEUR = 0.9\n";
    let config = read(good).unwrap();
    let percent = |percent| crate::money::margin::TakeRate::from_percent(percent).unwrap();
    let partner = &config.rules.partners[0];
    assert_eq!(partner.margin.open, percent(12.5));
    assert_eq!((partner.margin.of(b"p1"), partner.margin.on_deals), (percent(0.07), percent(1.0)));
    assert_eq!(partner.deals.of(b"d").map(|term| (term.tier, term.take_rate)), Some((1, None)));
    let [own, global] = &config.rules.floors[..] else { panic!("{:?}", config.rules.floors) };
    assert_eq!(
        (own.partner.as_deref(), &own.domains[..]),
        (Some("pub"), &["news.example".to_owned()][..])
    );
    assert_eq!((global.partner.as_deref(), &global.sizes[..]), (None, &[(300, 250)][..]));
    let as_of = std::time::Duration::from_secs(1_767_319_445);
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3_600);
    assert_eq!(config.rules.rates.age(as_of + hours(1)), Some(hours(1)));
    assert!(config.rules.rates.are_stale(as_of + hours(49)));
    for (bad, fault) in [
        ("take_rate = 95\n", "partners[0].take_rate = 95: must be a percentage from 0 to 90"),
        (
            "take_rate = 1.005\n",
            "partners[0].take_rate = 1.005: must be a percentage from 0 to 90 with at most two",
        ),
        ("publishers = [{ id = 'p1' }]\n", "partners[0].publishers[0].take_rate is missing"),
        (
            "deals = [{ id = 'd', tier = 10 }]\n",
            "partners[0].deals[0].tier = 10: must be a whole number, 1 to 9",
        ),
        ("deals = [{ id = 'd' }, { id = 'd' }]\n", "with each `id` once, and \"d\" is there twice"),
        ("[[floors]]\nmedia = ['video']\n", "floors[0].floor is missing: must be a price"),
        (
            "[[floors]]\nfloor = 2\nsoft_floor = 1\n",
            "floors[0].soft_floor = 1: must be at least `floor`",
        ),
        (
            "[[floors]]\nfloor = 2\ncurrency = 'EUR'\n",
            "floors[0].currency = \"EUR\": must be a currency that has a rate",
        ),
        (
            "[[floors]]\nfloor = 2\nsizes = ['70000x1']\n",
            "floors[0].sizes[0] = \"70000x1\": must be WIDTHxHEIGHT",
        ),
        ("[rates]\nas_of = 2026-01-02\n", "rates.as_of = "),
        (
            "[rates]\nas_of = 'yesterday'\n",
            "rates.as_of = \"yesterday\": must be a date and time with its offset",
        ),
    ] {
        let report = read(bad).unwrap_err();
        assert!(report.contains(fault), "{fault} is not in {report}");
    }
    let many: Vec<String> = (0..600).map(|number| format!("'d{number}.example'")).collect();
    let many = many.join(",");
    let report =
        read(&format!("[[floors]]\nfloor = 1\ndomains = [{many}]\npublishers = [{many}]\n"));
    assert!(report.unwrap_err().contains("at most 262144 combinations"));
}

#[test]
fn keys_of_sealed_prices_come_in_pairs_that_no_two_bidders_share() {
    let dir = tempfile::tempdir().unwrap();
    let read = |first: &str, second: &str| {
        let bidder = |name: &str, keys: &str| {
            format!(
                "[[bidders]]\nname = '{name}'\nurl = 'http://{name}.example/'\n[bidders.notices]\n{keys}\n"
            )
        };
        let text = bidder("a", first) + &bidder("b", second);
        load(&write(dir.path(), "gavel.toml", &text)).map_err(|report| report.to_string())
    };
    let [one, two, three] = ["B", "C", "D"].map(|letter| letter.repeat(42) + "A");
    let keys = |encryption: &str, integrity: &str| {
        format!("encryption_key = '{encryption}'\nintegrity_key = '{integrity}'")
    };
    let config = read(&keys(&one, &two), &keys(&one, &three)).unwrap();
    assert!(config.rules.bidders.iter().all(|bidder| bidder.notices.price_keys.is_some()));
    let short = one.trim_end_matches('A');
    for (first, second, fault) in [
        (
            &keys(&one, &two),
            &keys(&one, &two),
            "bidders[1].notices.encryption_key: must be of its own",
        ),
        (
            &keys(&one, &one),
            &String::new(),
            "bidders[0].notices.integrity_key = (secret): must be another than `encryption_key`",
        ),
        (
            &format!("integrity_key = '{one}'"),
            &String::new(),
            "bidders[0].notices.encryption_key is missing: must be there, where there is an",
        ),
        (
            &keys(&one, short),
            &String::new(),
            "bidders[0].notices.integrity_key = (secret): must be 32 bytes in base64",
        ),
    ] {
        let report = read(first, second).unwrap_err();
        assert!(report.contains(fault), "{fault} is not in {report}");
        assert!(!report.contains(short), "{report}");
    }
}

#[test]
fn rates_that_contradict_each_other_are_faults_that_name_both_places() {
    for (main, more, wanted) in [
        (
            "[rates.per_base]\nEUR = 0.92\n",
            "[rates]\nbase = 'USD'\n",
            "DIR/more.toml: rates: must be in one place only, and `rates` of DIR/gavel.toml is",
        ),
        (
            "",
            "[rates.per_base]\nEUR = 0.92\neur = 0.5\n",
            "DIR/more.toml: rates.per_base.eur = 0.5: must be the only rate of EUR, and \
             `rates.per_base.EUR` of DIR/more.toml is",
        ),
        (
            "[rates.per_base]\nUSD = 3.0\n",
            "",
            "DIR/gavel.toml: rates.per_base.USD = 3.0: must be 1: USD is the base, by \
             `rates.base` of DIR/gavel.toml",
        ),
        (
            "[rates]\nbase = 'EUR'\n[rates.per_base]\nUSD = 1.1\neur = 2\n",
            "",
            "rates.per_base.eur = 2: must be 1: EUR is the base",
        ),
        ("[rates.per_base]\nEUR = 0\n", "", "rates.per_base.EUR = 0: must be a rate, 10^-9"),
        ("[rates.per_base]\nEURO = 1\n", "", "rates.per_base.EURO: must be named by an ISO"),
        ("[rates]\nbase = 'EURO'\n[rates.per_base]\nUSD = 2\n", "", "rates.base = \"EURO\""),
    ] {
        let report = report(main, more);
        assert!(report.contains(wanted), "{wanted:?} is not in:\n{report}");
        assert!(report.starts_with("1 fault "), "{report}");
    }
    assert_eq!(report("[rates.per_base]\nUSD = 1\nEUR = 0.9\n", ""), "");
}

#[test]
fn a_name_that_is_taken_is_shown_with_the_place_that_has_it() {
    let partner = "[[partners]]\nname = 'pub'\nopen = true\n";
    let bidder = "[[bidders]]\nname = 'b'\nurl = 'http://b.example/'\n";
    let report = report(&format!("{partner}{bidder}"), &format!("{partner}{bidder}"));
    for wanted in [
        "DIR/more.toml: partners[0].name = \"pub\": must be a name of its own, and `partners[0]` of DIR/gavel.toml has it already",
        "DIR/more.toml: bidders[0].name = \"b\": must be a name of its own, and `bidders[0]` of DIR/gavel.toml has it already",
    ] {
        assert!(report.contains(wanted), "{wanted:?} is not in:\n{report}");
    }
}

#[test]
fn a_report_shows_no_secret_that_a_typo_uncovers() {
    let hash = "blake3:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for (main, wanted) in [
        ("[admin]\ntokn = 's3cret'\n", "admin.tokn: must be a known key (did you mean token?)"),
        (
            "[[bidders]]\nname = 'b'\nurl = 'http://user:s3cret@b.example/x'\n",
            "bidders[0].url = \"http://...@b.example/x\": must be",
        ),
        (
            "[[bidders]]\nname = 'b'\nurl = ['http://user:s3cret@b.example/x']\n",
            "bidders[0].url: must be",
        ),
        (
            "[[bidders]]\nname = 'b'\nurl = 'http://b.example'\nheaders = ['X s3cret']\n",
            "bidders[0].headers[0] = (secret): must be",
        ),
        (
            "[[bidders]]\nheaders = [\"Authorization: Bearer s3cret]\n",
            "DIR/gavel.toml: is not TOML in line 3, column ",
        ),
    ] {
        let report = report(main, "");
        assert!(report.contains(wanted), "{wanted:?} is not in:\n{report}");
        assert!(!report.contains("s3cret"), "{report}");
    }
    let report = report("", &format!("s3cret:{hash}\n"));
    assert!(report.contains("DIR/more.toml: is not TOML in line 1, column "), "{report}");
    assert!(!report.contains("s3cret") && !report.contains("blake3"), "{report}");
}

#[test]
fn what_hides_the_rest_of_a_file_is_told_with_its_place() {
    let report = report("", "[limits]\nimps_max = 99999999999999999999999\nwrong = 1\n");
    assert!(report.contains("more.toml: is not TOML in line 2, column 12: "), "{report}");
    assert!(report.contains("; the rest of the file was not looked at\n"), "{report}");
}

#[test]
fn a_file_is_included_once_and_never_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "more.toml", "[[partners]]\nname = 'pub'\nopen = true\n");
    let text = "include = ['more.toml', './more.toml', 'x/../more.toml', 'gavel.toml']\n";
    let report = load(&write(dir.path(), "gavel.toml", text)).unwrap_err().to_string();
    assert!(report.starts_with("3 faults"), "{report}");
    for wanted in ["\"./more.toml\"", "\"x/../more.toml\"", "\"gavel.toml\""] {
        let wanted = format!("include = {wanted}: must be a list of other files than this one");
        assert!(report.contains(&wanted), "{wanted:?} is not in:\n{report}");
    }
}

#[test]
fn two_partners_do_not_share_a_key() {
    let key = |digit: &str| format!("'blake3:{}'", digit.repeat(64));
    let partner = |name: &str, keys: &[String]| {
        format!("[[partners]]\nname = '{name}'\nkeys = [{}]\n", keys.join(", "))
    };
    let shared = partner("two", &[key("b"), key("a")]);
    let report_of_shared = report(&partner("one", &[key("a"), key("a")]), &shared);
    let wanted = "DIR/more.toml: partners[0].keys: must be keys of \"two\" alone, and \
                  `partners[0]` of DIR/gavel.toml, \"one\", has one of them too";
    assert!(report_of_shared.contains(wanted), "{report_of_shared}");
    assert!(report_of_shared.starts_with("1 fault "), "{report_of_shared}");
    assert_eq!(report(&partner("one", &[key("a")]), &partner("two", &[key("b")])), "");
}

#[test]
fn a_configuration_with_nobody_in_it_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let wall = Duration::from_secs(1_000_000_000);
    let warnings =
        |text: &str| load(&write(dir.path(), "gavel.toml", text)).unwrap().warnings(wall);
    assert_eq!(warnings("").len(), 2);
    assert!(warnings("[[partners]]\nname = 'p'\nopen = true\n")[0].starts_with("no bidder"));
    let both = "[[partners]]\nname = 'p'\nopen = true\n[[bidders]]\nname = 'b'\nurl = 'http://b.example'\n";
    assert!(warnings(both).is_empty());
    for (as_of, is_told) in [
        ("2001-09-09T00:00:00Z", false),
        ("2001-09-01T00:00:00Z", true),
        ("2011-09-09T00:00:00Z", true),
    ] {
        let told = warnings(&format!("{both}[rates]\nas_of = {as_of}\n"));
        assert_eq!(told.iter().any(|told| told.starts_with("`rates.as_of`")), is_told, "{as_of}");
    }
}

#[test]
fn sizes_of_a_journal_that_do_not_go_together_are_told_by_the_one_that_was_written() {
    let partner = "[[partners]]\nname = 'pub'\nopen = true\n";
    for (sizes, wanted) in [
        (
            "segment_bytes = '1MiB'",
            "journal.segment_bytes = \"1MiB\": must be at least twice `commit_bytes_max`: 8388608",
        ),
        (
            "segment_bytes = '1MiB'\ncommit_bytes_max = '1MiB'",
            "journal.commit_bytes_max = \"1MiB\": must be at most half of `segment_bytes`: 524288",
        ),
        (
            "commit_bytes_max = '4KiB'",
            "journal.commit_bytes_max = \"4KiB\": must be at least a record with its head: ",
        ),
        (
            "commit_bytes_max = '8KiB'\nrecord_bytes_max = '8KiB'",
            "journal.record_bytes_max = \"8KiB\": must be with its head (",
        ),
    ] {
        let found = report(&format!("[journal]\ndir = 'j'\n{sizes}\n"), partner);
        assert!(found.contains(wanted), "{sizes}: {found}");
    }
}

#[test]
fn a_broker_is_read_with_what_it_needs_and_its_faults_are_named() {
    let partner = "[[partners]]\nname = 'pub'\nopen = true\n";
    let journal = "[journal]\ndir = 'j'\n";
    let good = "[broker]\nurls = ['nats://n.example:4222']\nstream = 'EVENTS'\n\
                subject_prefix = 'ads.gavel'\n[events]\nack = 'broker'\n";
    assert_eq!(report(&format!("{good}{journal}"), partner), "");
    for (main, wanted) in [
        (good.to_owned(), "journal.dir is missing: must be there, where there is a `[broker]`"),
        (
            format!("{journal}[events]\nack = 'broker'\n"),
            "events.ack = \"broker\": must be `broker` only where there is a `[broker]`",
        ),
        (format!("{journal}[broker]\n"), "broker.urls is missing: must be at least one"),
        (
            format!("{journal}[broker]\nurls = ['nats://me:s3cret@n.example']\n"),
            "broker.urls[0] = \"nats://...@n.example\": must be nats:// or tls://",
        ),
        (
            format!("{journal}[broker]\nurls = ['nats://n']\nsubject_prefix = 'a..b'\n"),
            "broker.subject_prefix = \"a..b\": must be words",
        ),
        (
            format!("{journal}[broker]\nurls = ['nats://n']\ncert_file = 'c'\n"),
            "broker.cert_file = \"c\": must be there together with `key_file`",
        ),
    ] {
        let report = report(&main, partner);
        assert!(report.contains(wanted), "{wanted:?} is not in:\n{report}");
        assert!(!report.contains("s3cret"), "{report}");
    }
}
