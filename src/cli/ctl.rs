//! The command line of control while the service runs.

use std::path::PathBuf;

use burnrec::serve::http::tokens::Role;
use clap::{Args, Subcommand};

use super::Settings;

#[derive(Args)]
pub struct Ctl {
    /// The address of the service's [control.http].
    #[arg(
        long,
        env = "BURNREC_CTL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8081",
        global = true
    )]
    pub at: String,
    /// A file with the token, a named one or a JWT; without it the environment variable BURNREC_TOKEN.
    #[arg(long, env = "BURNREC_TOKEN_FILE", value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// A PEM file with a client certificate, and those that it was signed by; the token may be left out then.
    #[arg(long, env = "BURNREC_CERTIFICATE", value_name = "FILE", requires = "key", global = true)]
    pub certificate: Option<PathBuf>,
    /// A PEM file with its private key (PKCS #8, without a password).
    #[arg(long, env = "BURNREC_KEY", value_name = "FILE", requires = "certificate", global = true)]
    pub key: Option<PathBuf>,
    /// A PEM file with the CAs that the service's certificate is trusted by, in place of those of the system.
    #[arg(long, env = "BURNREC_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub act: CtlAct,
}

#[derive(Subcommand)]
pub enum CtlAct {
    /// Show what runs: version, models, routes, and the other instances.
    Status,
    /// Print the config as it can be put again.
    Config {
        /// Of this version; of the newest by default.
        #[arg(long)]
        version: Option<u64>,
    },
    /// List the versions of the config: who made them, when, and what changed.
    Versions,
    /// Show what differs between two versions; by default between the last two.
    Diff { from: Option<u64>, to: Option<u64> },
    /// Change keys of the config: `routes.0.models.next=0.1`, `flow.batch_events=256`; `KEY=` removes one.
    Set {
        #[arg(value_name = "KEY=VALUE", required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        wish: Wish,
    },
    /// Put a config file in place of the config.
    Put {
        /// The config file; what needs a restart must be in it as the service runs.
        config: PathBuf,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        wish: Wish,
    },
    /// Take up an earlier version again; by default the last that differs.
    Rollback {
        version: Option<u64>,
        #[command(flatten)]
        note: Note,
    },
    /// Take no events, and let wait what was read.
    Pause {
        #[command(flatten)]
        note: Note,
    },
    /// Go on.
    Resume {
        #[command(flatten)]
        note: Note,
    },
    /// Take no events, answer and commit what was read, and wait until that is done.
    Drain {
        #[command(flatten)]
        note: Note,
        /// How many seconds to wait at most; 0 does not wait.
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
    /// Look for new models at once.
    Reload,
    /// Search what happened to events, the newest first; needs [provenance] in the service's config.
    Events(Events),
    /// Show all that is known of one event, with its message.
    Event {
        /// `topic/partition/offset`.
        source: String,
    },
    /// Answer events again: one, a range of offsets, or those of a time.
    Replay(Again),
    /// Show what came of replays since the service started.
    Replays,
    /// Show the last calls that changed something or were refused.
    Audit {
        /// How many.
        #[arg(long, default_value_t = 100)]
        last: usize,
    },
    /// Make a token, add its hash to a file of tokens, and print the token, which is nowhere kept.
    Token {
        /// Whose it is, or what for; another of the name is replaced.
        name: String,
        #[command(flatten)]
        grant: Grant,
    },
    /// Add the name in client certificates to a file of tokens: CN=…, URI=…, DNS=… or email=….
    Certificate {
        /// Whose it is, or what for; another of the name is replaced.
        name: String,
        /// What the certificates have: their common name, or an alternative name.
        #[arg(value_name = "CN=NAME")]
        of: String,
        #[command(flatten)]
        grant: Grant,
    },
    /// Remove a token or a certificate from a file of tokens.
    Revoke {
        /// Its name.
        name: String,
        /// The file that `http.tokens` names.
        #[arg(long, value_name = "FILE", default_value = "tokens.toml")]
        tokens: PathBuf,
    },
}

#[derive(Args)]
pub struct Grant {
    /// What it lets do: score, observe, operate or admin; several with commas between.
    #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',', value_parser = role)]
    pub roles: Vec<Role>,
    /// After how many days it expires; never by default.
    #[arg(long)]
    pub days: Option<u32>,
    /// The file that `http.tokens` names.
    #[arg(long, value_name = "FILE", default_value = "tokens.toml")]
    pub tokens: PathBuf,
}

#[derive(Args)]
pub struct Events {
    /// Of this user.
    #[arg(long, allow_hyphen_values = true)]
    pub user: Option<String>,
    /// About this item, or with it among the best of the reply.
    #[arg(long, allow_hyphen_values = true)]
    pub item: Option<String>,
    /// Whose request has this `id`.
    #[arg(long, allow_hyphen_values = true)]
    pub id: Option<String>,
    /// From `topic`, `topic/partition`, `topic/partition/offset` or `topic/partition/first-last`.
    #[arg(long)]
    pub source: Option<String>,
    /// That ended at this time or later: Unix milliseconds or `2027-02-26T12:00:00Z`.
    #[arg(long)]
    pub from: Option<String>,
    /// That ended before this time.
    #[arg(long)]
    pub to: Option<String>,
    /// Of this type: score, recommend, similar or event.
    #[arg(long = "type")]
    pub kind: Option<String>,
    /// That ended so: replied, rejected, filtered, expired, dropped.
    #[arg(long)]
    pub outcome: Option<String>,
    /// That were not answered for this reason.
    #[arg(long)]
    pub reason: Option<String>,
    /// That a model answered: its name, its version, its hash or that of its data.
    #[arg(long)]
    pub model: Option<String>,
    /// That a replay answered.
    #[arg(long)]
    pub replay: Option<u64>,
    /// How many.
    #[arg(long, default_value_t = 20)]
    pub limit: u64,
    /// Where the page before ended.
    #[arg(long)]
    pub cursor: Option<String>,
    /// Show their messages as well.
    #[arg(long)]
    pub input: bool,
}

#[derive(Args)]
pub struct Again {
    /// `topic/partition/offset` or `topic/partition/first-last`.
    #[arg(required_unless_present = "from", conflicts_with_all = ["from", "to", "topic"])]
    pub source: Option<String>,
    /// From this time on, by the events' own: Unix milliseconds or `2027-02-26T12:00:00Z`.
    #[arg(long)]
    pub from: Option<String>,
    /// Before this time; now by default.
    #[arg(long)]
    pub to: Option<String>,
    /// Of this topic; of all by default.
    #[arg(long)]
    pub topic: Option<String>,
    #[command(flatten)]
    pub note: Note,
    /// How many seconds to wait for its end.
    #[arg(long, default_value_t = 60)]
    pub wait: u64,
}

#[derive(Args)]
pub struct Wish {
    #[command(flatten)]
    pub note: Note,
    /// Only check it, and show what would change.
    #[arg(long)]
    pub check: bool,
}

#[derive(Args)]
pub struct Note {
    /// Why, for the list of versions.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
}

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|role| role.name() == text);
    found.ok_or_else(|| "expected score, observe, operate or admin".to_owned())
}
