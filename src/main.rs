//! The command line of the exchange: arguments in, exit code out.
//!
//! Owns: the allocator, the names of the commands and their exit codes. Never: what they do.
#![expect(clippy::print_stderr, reason = "a command line prints")]

use clap::{Parser, Subcommand};
use gavel::app::load::StartFault;
use gavel::app::pack::PackArgs;
use gavel::app::{self, EX_CONFIG, ServeArgs};
use gavel::broker::command::{self as events, EventsCommand};
use gavel::config::events::Ack;
use gavel::http::admin::AdminAddress;
use gavel::journal::{self, command::JournalCommand};
use gavel::ledger::{self, command::LedgerArgs};
use gavel::notice::command::{self as dlq, DlqCommand, Keeper};
use gavel::{clock, config, enrich};
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "gavel", version, about = "An OpenRTB ad exchange that uses the whole machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM.
    Serve {
        /// The main file.
        #[arg(long)]
        config: PathBuf,
        /// Where `/ready` and `/metrics` are.
        #[arg(long, env = "GAVEL_OPERATIONS", default_value = "0.0.0.0:9090")]
        operations: SocketAddr,
        /// Where partners call, instead of the file's `http.listen`.
        #[arg(long)]
        listen: Option<SocketAddr>,
        /// A folder where good rules are kept, for a start into broken ones.
        #[arg(long, env = "GAVEL_KEEP")]
        keep: Option<PathBuf>,
        /// End with 78 on a fault of the configuration instead of staying up, not ready.
        #[arg(long)]
        exit_on_fault: bool,
        /// Let debuggers of the same user and core dumps have the memory, secrets included.
        #[arg(long)]
        dumpable: bool,
    },
    /// Report every fault of a configuration; exit 78 where there is one.
    Check {
        /// The main file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Print the configuration reference as markdown.
    Reference,
    /// Cut an address database into parts with a manifest, and into ConfigMaps.
    PackDb(PackArgs),
    /// Read a partner's key from standard input and print the hash for `keys`.
    HashKey,
    /// What is in a journal, whether it is whole, and its records.
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// What the broker holds of events.
    Events {
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// Totals of money over the journals of all replicas, and what does not add up.
    Ledger(LedgerArgs),
    /// Notices that bidders would not take: list them, try them again, give them up.
    Dlq {
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// What an operator can ask where there is no shell.
    Debug {
        #[command(subcommand)]
        question: Question,
    },
    /// Print the version.
    Version,
}

#[derive(Subcommand)]
enum Question {
    /// Each key with the value that is in force; secrets are left out.
    Config {
        #[arg(long)]
        config: PathBuf,
    },
    /// The databases: type, build time, entries, checksum.
    Databases {
        #[arg(long)]
        config: PathBuf,
    },
    /// What the process that serves this configuration has in force, and how reloads went.
    Snapshot {
        #[arg(long)]
        config: PathBuf,
        /// Where the admin listener is, instead of the file's `admin.listen`: an address, or the
        /// path of a unix socket.
        #[arg(long)]
        admin: Option<String>,
        /// The admin listener's token, where it asks for one.
        #[arg(long, env = "GAVEL_ADMIN_TOKEN", hide_env_values = true)]
        token: Option<String>,
    },
    /// What the address databases say of an address.
    Ip {
        address: IpAddr,
        #[arg(long)]
        config: PathBuf,
    },
    /// What the device database says of a user agent.
    Ua {
        agent: String,
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve { config, operations, listen, keep, exit_on_fault, dumpable } => {
            if !dumpable && let Err(fault) = nix::sys::prctl::set_dumpable(false) {
                eprintln!("core dumps cannot be forbidden: {fault}");
            }
            app::serve(&ServeArgs { config, operations, listen, keep, exit_on_fault })
        }
        Command::Check { config } => check(&config),
        Command::Reference => say(&config::reference::markdown(&config::rows())),
        Command::PackDb(args) => pack_db(&args),
        Command::HashKey => hash_key(),
        Command::Journal { command } => journal(command),
        Command::Events { command } => pull(command),
        Command::Ledger(args) => ledger(args),
        Command::Dlq { command } => letters(command),
        Command::Debug { question } => match answer(question) {
            Ok(text) => say(&text),
            Err(fault) => faulty(&fault),
        },
        Command::Version => say(concat!("gavel ", env!("CARGO_PKG_VERSION"))),
    }
}

/// Prints to standard output. Whoever closes it (`| head`) has seen enough: no fault.
fn say(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("cannot write to standard output: {fault}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn check(path: &Path) -> ExitCode {
    match app::load::check(path) {
        Ok((config, databases)) => {
            let ok = format!(
                "ok: {} partners, {} bidders, {} databases in {} files",
                config.rules.partners.len(),
                config.rules.bidders.len(),
                databases.describe().len(),
                config.files.len()
            );
            let warnings = config.warnings(clock::wall()).into_iter();
            say(&warnings.fold(ok, |text, warning| format!("{text}\nwarning: {warning}")))
        }
        Err(fault) => faulty(&fault),
    }
}

fn faulty(fault: &StartFault) -> ExitCode {
    eprint!("{fault}");
    ExitCode::from(EX_CONFIG)
}

fn answer(question: Question) -> Result<String, StartFault> {
    let shown = |value: serde_json::Value| format!("{value:#}");
    Ok(match question {
        Question::Config { config } => {
            let config = config::load(&config).map_err(StartFault::from)?;
            config::reference::effective(&config.rows)
        }
        Question::Databases { config } => {
            let (_, databases) = app::load::load(&config)?;
            shown(serde_json::json!(databases.describe()))
        }
        Question::Snapshot { config, admin, token } => {
            let address = match admin {
                Some(text) => Ok(match text.parse() {
                    Ok(address) => AdminAddress::Tcp(address),
                    Err(_) => AdminAddress::Unix(text.into()),
                }),
                None => app::ask::address(&config),
            };
            let answer = address
                .and_then(|address| app::ask::snapshot(&address, token.as_deref()))
                .map_err(|fault| StartFault::new(vec![fault]))?;
            match serde_json::from_str(&answer) {
                Ok(json) => shown(json),
                Err(_) => answer,
            }
        }
        Question::Ip { address, config } => {
            let (_, databases) = app::load::load(&config)?;
            shown(enrich::lookup_ip(&databases, address, clock::wall()))
        }
        Question::Ua { agent, config } => {
            let (_, databases) = app::load::load(&config)?;
            shown(enrich::lookup_ua(&databases, &agent))
        }
    })
}

fn pack_db(args: &PackArgs) -> ExitCode {
    match app::pack::pack(args) {
        Ok(text) => say(&text),
        Err(fault) => {
            eprintln!("{}", config::fault::chain(&fault));
            ExitCode::FAILURE
        }
    }
}

fn journal(command: JournalCommand) -> ExitCode {
    let is_export = matches!(command, JournalCommand::Export { .. });
    match journal::command::run(command) {
        Ok(told) => {
            for fault in &told.faults {
                eprintln!("{fault}");
            }
            let said = if is_export { ExitCode::SUCCESS } else { say(&told.text) };
            if told.is_well { said } else { ExitCode::FAILURE }
        }
        Err(fault) => {
            eprintln!("{}", config::fault::chain(&fault));
            ExitCode::from(2)
        }
    }
}

fn pull(command: EventsCommand) -> ExitCode {
    let EventsCommand::Pull { config, from, out } = command;
    let config = match config::load(&config) {
        Ok(config) => config,
        Err(report) => return faulty(&StartFault::from(report)),
    };
    let Some(settings) = config.events.broker else {
        eprintln!("the configuration has no [broker]");
        return ExitCode::from(EX_CONFIG);
    };
    match events::pull(&settings, from, out.as_ref()) {
        Ok(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => {
            eprintln!("{}", config::fault::chain(&fault));
            ExitCode::from(2)
        }
    }
}

fn letters(command: DlqCommand) -> ExitCode {
    let keeper = match command.place().map(config::load) {
        Err(dir) => Keeper::Journal(dir),
        Ok(Err(report)) => return faulty(&StartFault::from(report)),
        Ok(Ok(config)) => match (config.events.ack, config.events.broker, config.events.journal) {
            (Ack::Broker, Some(broker), _) => Keeper::Stream(Box::new(broker)),
            (_, _, Some(journal)) => Keeper::Journal(journal.dir),
            _ => {
                eprintln!("the configuration has no [journal]");
                return ExitCode::from(EX_CONFIG);
            }
        },
    };
    match dlq::run(command, &keeper) {
        Ok(text) => say(&text),
        Err(fault) => {
            eprintln!("{}", config::fault::chain(&fault));
            ExitCode::FAILURE
        }
    }
}

fn ledger(args: LedgerArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    match ledger::command::run(args, &mut out) {
        Ok(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) if ledger::command::has_seen_enough(&fault) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{}", config::fault::chain(&fault));
            ExitCode::from(2)
        }
    }
}

fn hash_key() -> ExitCode {
    let mut key = String::new();
    if let Err(cause) = io::stdin().read_line(&mut key) {
        eprintln!("cannot read a key from standard input: {cause}");
        return ExitCode::FAILURE;
    }
    let key = key.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        eprintln!("the key is empty");
        return ExitCode::FAILURE;
    }
    if key.trim() != key || key.chars().any(char::is_control) {
        eprintln!(
            "the key begins or ends with a blank, or has a control character: no header has such"
        );
        return ExitCode::FAILURE;
    }
    say(&format!("blake3:{}", blake3::hash(key.as_bytes())))
}
