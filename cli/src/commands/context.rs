//! `quorate context`: named settings.

use clap::Subcommand;

use crate::context::{Context, Contexts, contexts_file};
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, json};

/// List, choose and show named settings
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A context holds the endpoints, policy, authority and trust store of a cluster. `quorate dev`
makes one.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all contexts
    List,
    /// Make a context the default
    Use {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show the settings in use, flags and variables included
    Show,
}

/// Lists, chooses or shows.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let path = contexts_file()?;
    let mut contexts = Contexts::load(&path)?;
    let output = global.output();
    let shown = match &args.command {
        Command::Show => {
            let name =
                contexts.select(global.context.as_deref())?.map_or("(none)", |(name, _)| name).to_owned();
            let is_default = contexts.default.as_ref() == Some(&name);
            vec![document(&name, &global.settings()?, is_default)]
        }
        Command::Use { name } => {
            contexts.use_by_default(name)?;
            contexts.save(&path)?;
            output.hint(&format!("context {name} is the default now"));
            all(&contexts)
        }
        Command::List => all(&contexts),
    };
    let file = path.display().to_string();
    let document = json::Contexts { file, contexts: shown };
    let is_list = !matches!(args.command, Command::Show);
    output.result(
        "contexts",
        &document,
        |document| {
            if is_list { list(document) } else { details(document) }
        },
    )?;
    if document.contexts.is_empty() {
        output.hint(&format!("there are no contexts in {}: `quorate dev` makes one", document.file));
    }
    Ok(Exit::Done)
}

fn all(contexts: &Contexts) -> Vec<json::Context> {
    let is_default = |name: &String| contexts.default.as_ref() == Some(name);
    contexts.contexts.iter().map(|(name, context)| document(name, context, is_default(name))).collect()
}

fn document(name: &str, context: &Context, default: bool) -> json::Context {
    let path = |path: &std::path::PathBuf| path.display().to_string();
    json::Context {
        name: name.to_owned(),
        default,
        endpoints: context.endpoints.clone(),
        policy: context.policy.iter().map(path).collect(),
        cacert: context.cacert.as_ref().map(path),
        cert: context.cert.as_ref().map(path),
        cert_key: context.cert_key.as_ref().map(path),
        trust_dir: context.trust_dir.as_ref().map(path),
        plaintext: context.plaintext,
    }
}

fn list(document: &json::Contexts) -> String {
    let mut table = Table::new(["DEFAULT", "NAME", "ENDPOINTS"]);
    for context in &document.contexts {
        let mark = if context.default { "*" } else { "" };
        table.row([mark.to_owned(), context.name.clone(), context.endpoints.join(" ")]);
    }
    table.to_string()
}

fn details(document: &json::Contexts) -> String {
    let mut table = Table::new(["SETTING", "VALUE"]);
    for context in &document.contexts {
        let or_none = |value: &Option<String>, none: &str| value.clone().unwrap_or_else(|| none.to_owned());
        table.row(["context".to_owned(), context.name.clone()]);
        table.row(["endpoints".to_owned(), context.endpoints.join(" ")]);
        table.row(["policy".to_owned(), context.policy.join(" ")]);
        table.row(["cacert".to_owned(), or_none(&context.cacert, "(none: only plaintext is possible)")]);
        table.row(["cert".to_owned(), or_none(&context.cert, "(none: not an operator)")]);
        table.row(["trust_dir".to_owned(), or_none(&context.trust_dir, "(that of this user)")]);
        table.row(["plaintext".to_owned(), context.plaintext.to_string()]);
    }
    table.row(["contexts file".to_owned(), document.file.clone()]);
    table.to_string()
}
