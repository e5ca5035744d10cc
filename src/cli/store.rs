//! `btcfeed store`: shows, saves, restores, deletes and moves a feed while no replica runs.

mod lines;
mod place;
mod running;
mod transfer;

use super::exit;
use super::runtime::block_on;
use super::settings::{flags, lookup};
use crate::candle::Detail;
use crate::config::{Config, ConfigErrors};
use crate::store::{RedisTls, Summary};
use crate::tick::TickId;
use anyhow::{Context, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use place::{Place, open, open_target};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use transfer::{Copied, Writable};

const EXAMPLES: &str = "\
The store is that of the settings: Redis if there is a REDIS_URL, otherwise the file in
BTCFEED_DATA. With --data it is the file, even if the environment has a REDIS_URL. Stop all replicas
first. A file that a replica uses is rejected. For a feed in Redis, import, clear and move are
rejected while one of its replicas runs.

Examples:
  btcfeed store info                                          what the store contains
  btcfeed store export backup.jsonl                           a backup: entries, inputs, candles and bookmarks as JSON lines
  btcfeed store import backup.jsonl                           restores the backup into an empty store
  btcfeed store move --to redis://localhost                   from the file to Redis
  btcfeed store --redis-url redis://localhost move --to /var/lib/btcfeed    from Redis to the file
  btcfeed store clear --yes                                   deletes the feed
  btcfeed store clear --simulated --yes                       deletes only its simulated prices

Exit codes: 0 done; 1 failed; 2 a setting or an argument is invalid.";

/// The settings of a store.
const SETTINGS: [&str; 9] = [
    "REDIS_URL",
    "REDIS_URL_FILE",
    "BTCFEED_KEY_PREFIX",
    "BTCFEED_REDIS_CA",
    "BTCFEED_REDIS_CERT",
    "BTCFEED_REDIS_KEY",
    "BTCFEED_REDIS_TIMEOUT",
    "BTCFEED_DATA",
    "BTCFEED_RETENTION",
];

/// The flags that name the TLS files for the Redis of `--to`.
const TO_CA: &str = "to-ca";
const TO_CERT: &str = "to-cert";
const TO_KEY: &str = "to-key";

/// The settings that name a Redis.
const REDIS: [&str; 2] = ["REDIS_URL", "REDIS_URL_FILE"];

/// The arguments.
pub(super) fn command() -> Command {
    let file = |help: &'static str| Arg::new("file").value_name("FILE").help(help);
    let merge = || {
        let flag = Arg::new("merge").long("merge").action(ArgAction::SetTrue);
        flag.help("Add to a store that is not empty, without a change to the entries and bookmarks in it")
    };
    let info = Command::new("info")
        .about("Print the numbers of entries, inputs, bookmarks and hours with candles, the range of ids and the size");
    let export = Command::new("export")
        .about("Write all entries, inputs, candles and bookmarks as JSON lines")
        .arg(file("File to create [default: standard output]"));
    let import = Command::new("import")
        .about("Read the lines of an export into an empty store")
        .arg(file("File to read [default: standard input]"))
        .arg(merge());
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let clear = Command::new("clear")
        .about("Delete all entries, inputs, candles and bookmarks, or only simulated prices")
        .arg(flag("yes").required(true).help("Confirm that the feed, or a part of it, is deleted"))
        .arg(
            flag("simulated")
                .help("Delete only the simulated prices, with their inputs and the candles of their hours"),
        );
    let path = |name: &'static str| Arg::new(name).long(name).value_name("FILE");
    let to = Arg::new("to").long("to").value_name("STORE").required(true);
    let prefix = Arg::new("to-prefix").long("to-prefix").value_name("PREFIX").default_value("btcfeed");
    let keep = flag("keep");
    let move_to = Command::new("move")
        .about("Copy the feed to another store, compare both, and delete it here")
        .arg(to.help("URL of a Redis, file:PATH of a file that contains one, or the directory of a feed"))
        .arg(prefix.help("Prefix of the keys in the Redis of --to"))
        .arg(
            path(TO_CA)
                .help("File with the certificate authorities of the Redis of --to [default: those of the system]"),
        )
        .arg(path(TO_CERT).requires(TO_KEY).help("File with the client certificate for the Redis of --to"))
        .arg(path(TO_KEY).requires(TO_CERT).help("File with the private key of --to-cert"))
        .arg(keep.help("Do not delete the feed here"))
        .arg(merge());
    let subcommands = [info, export, import, clear, move_to].map(|command| command.after_long_help(EXAMPLES));
    Command::new("store")
        .about("Show, save, restore, delete or move a feed while no replica runs")
        .after_long_help(EXAMPLES)
        .args(flags(|setting| SETTINGS.contains(&setting.env)))
        .subcommand_required(true)
        .subcommands(subcommands)
}

/// Runs a subcommand.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    // If a flag names a directory, the store is there, even if the environment names a Redis.
    let names_file = matches.contains_id("BTCFEED_DATA") && !REDIS.iter().any(|flag| matches.contains_id(flag));
    // The role of a replica does not concern its store, and without a Redis most roles are invalid.
    let lookup = lookup(matches).without(&["BTCFEED_ROLE"]);
    let lookup = if names_file { lookup.without(&REDIS) } else { lookup };
    let config = match Config::read(&lookup) {
        Ok(config) => config,
        Err(ConfigErrors(errors)) => return exit::with_errors(&errors),
    };
    let Some((name, flags)) = matches.subcommand() else { return ExitCode::from(exit::USAGE) };
    exit::with_result(block_on(execute(&config, name, flags)))
}

/// Writes the feed into a file.
async fn export(here: &Place, file: File) -> anyhow::Result<Copied> {
    let mut out = BufWriter::new(file);
    let written = lines::export(&*here.store, &mut out).await?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(written)
}

async fn execute(config: &Config, name: &str, flags: &ArgMatches) -> anyhow::Result<()> {
    let file = || flags.get_one::<String>("file").map(Path::new);
    let flag = |name| flags.get_flag(name);
    let here = open(config, matches!(name, "import")).await?;
    match name {
        "info" => info(&here).await,
        "export" => {
            let written = match file() {
                Some(path) => {
                    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
                    export(&here, file).await.inspect_err(|_| {
                        // A part of a feed is no backup.
                        fs::remove_file(path).ok();
                    })?
                }
                None => lines::export(&*here.store, &mut io::stdout().lock()).await?,
            };
            eprintln!("exported {written} from {}", here.name);
            Ok(())
        }
        "import" => {
            let reader: Box<dyn BufRead + Send> = match file() {
                Some(path) => {
                    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
                    Box::new(BufReader::new(file))
                }
                None => Box::new(BufReader::new(io::stdin())),
            };
            let target = Writable::acquire(&here, flag("merge")).await?;
            let imported = lines::import(&target, reader).await;
            target.release().await;
            eprintln!("imported {} into {}", imported?, here.name);
            Ok(())
        }
        "clear" => {
            let target = Writable::acquire(&here, true).await?;
            let cleared = if flag("simulated") {
                target.clear_simulated().await.map(Some)
            } else {
                target.clear().await.map(|()| None)
            };
            target.release().await;
            match cleared? {
                Some(count) => eprintln!("deleted {count} simulated ticks from {}", here.name),
                None => eprintln!("cleared {}", here.name),
            }
            Ok(())
        }
        "move" => {
            let to = flags.get_one::<String>("to").context("no target")?;
            let prefix = flags.get_one::<String>("to-prefix").context("no prefix")?;
            let file = |name| flags.get_one::<String>(name).map(PathBuf::from);
            let tls = RedisTls { authorities: file(TO_CA), certificate: file(TO_CERT).zip(file(TO_KEY)) };
            tls.check().context("cannot use the files of TLS for --to")?;
            let there = open_target(config, to, prefix, tls)?;
            ensure!(there.name != here.name, "the feed is already in {}", here.name);
            let source = Writable::acquire(&here, true).await?;
            let copied = copy(&source, &there, flag("merge")).await;
            let done = match copied {
                Ok(copied) if flag("keep") => Ok((copied, "copied")),
                Ok(copied) => source.clear().await.map(|()| (copied, "moved")),
                Err(error) => Err(error),
            };
            source.release().await;
            let (copied, verb) = done?;
            eprintln!("{verb} {copied} from {} to {}", here.name, there.name);
            Ok(())
        }
        _ => bail!("unknown subcommand {name}"),
    }
}

/// Copies everything to another store.
async fn copy(source: &Writable<'_>, there: &Place, merge: bool) -> anyhow::Result<Copied> {
    let target = Writable::acquire(there, merge).await?;
    let copied = transfer::copy(source, &target).await;
    target.release().await;
    copied
}

async fn info(here: &Place) -> anyhow::Result<()> {
    let Summary { entries, audits, oldest, newest, bytes } = here.store.summary().await?;
    let clients = here.store.bookmarks().await?.len();
    let id = |name: &str, id: TickId| format!("{name:<10} {id} ({})", id.timedate());
    let mut lines = vec![format!("store      {}", here.name), format!("entries    {entries}")];
    lines.push(format!("inputs     {audits}"));
    lines.push(format!("bookmarks  {clients}"));
    if entries > 0 {
        lines.extend([id("oldest", oldest), id("newest", newest)]);
    }
    for (detail, what) in [(Detail::Minutes, "minutes"), (Detail::Hour, "hours")] {
        let kept = here.store.kept_hours(detail).await?.unwrap_or_default();
        let since = kept.first().map_or_else(String::new, |first| format!(" since {}", first.timedate()));
        lines.push(format!("{what:<10} of {} hours{since}", kept.len()));
    }
    lines.extend(bytes.map(|bytes| format!("bytes      {bytes}")));
    lines.push(String::new());
    let text = lines.join("\n");
    exit::unless_closed(io::stdout().lock().write_all(text.as_bytes()))
}
