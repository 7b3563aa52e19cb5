//! Parses a page of Markdown: its blocks of code, its links and headings, and the files that it names.

use std::fs;

use crate::root;

/// A page of the repository.
pub struct Page {
    /// Its path from the root.
    pub name: String,
    text: String,
}

/// A fenced block of code.
pub struct Block {
    /// The page and line of its first line of code, `docs/data.md:17`.
    pub place: String,
    /// The language that follows the opening fence.
    pub language: String,
    page: String,
    first: usize,
    lines: Vec<String>,
}

/// A link, or a picture.
pub struct Link {
    /// The page and line of the link.
    pub place: String,
    /// The target as it is written.
    pub target: String,
}

/// A command of a block of shell.
pub struct CommandLine {
    /// The page and line of the command.
    pub place: String,
    /// The command, its continuation lines joined, without the comment.
    pub text: String,
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (at, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    open = Some(Block {
                        place: format!("{}:{}", self.name, at + 2),
                        language: language.to_owned(),
                        page: self.name.clone(),
                        first: at + 2,
                        lines: Vec::new(),
                    });
                }
                (None, Some(block)) => block.lines.push(line.to_owned()),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block of code has no end", self.name);
        blocks
    }

    /// Returns the lines outside blocks of code, with their line numbers.
    fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut code = false;
        (1..).zip(self.text.lines()).filter(move |(_, line)| {
            let fence = line.starts_with("```");
            code ^= fence;
            !code && !fence
        })
    }

    pub fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (at, line) in self.prose() {
            for rest in line.split("](").skip(1) {
                let target = rest.split(')').next().unwrap_or_default().to_owned();
                links.push(Link { place: format!("{}:{at}", self.name), target });
            }
        }
        links
    }

    /// Returns the anchors of the headings, as GitHub and mdBook name them.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().filter(|(_, line)| line.starts_with('#'));
        headings
            .map(|(_, line)| {
                let heading = line.trim_start_matches('#').trim().to_lowercase();
                let kept = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
                kept.map(|char| if char == ' ' { '-' } else { char }).collect()
            })
            .collect()
    }

    /// Returns the paths under one of `folders` that the page names, in code too, each after its page and line.
    pub fn paths(&self, folders: &[&str]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (at, line) in (1..).zip(self.text.lines()) {
            for word in line.split(|char: char| char.is_whitespace() || "`()[],;|\"'".contains(char)) {
                let path = word.split([':', '#', '$']).next().unwrap_or_default().trim_end_matches('.');
                let folder = path.split_once('/').map(|(folder, _)| folder);
                if folder.is_some_and(|folder| folders.contains(&folder)) && !path.contains(['<', '*', '…'])
                {
                    found.push((format!("{}:{at}", self.name), path.to_owned()));
                }
            }
        }
        found
    }
}

impl Block {
    pub fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }

    /// Returns the commands of a block of shell.
    pub fn commands(&self) -> Vec<CommandLine> {
        let mut commands: Vec<CommandLine> = Vec::new();
        let mut goes_on = false;
        for (at, line) in (self.first..).zip(&self.lines) {
            let line = without_comment(line);
            let (line, more) = line.strip_suffix('\\').map_or((line, false), |line| (line.trim_end(), true));
            match commands.last_mut() {
                Some(last) if goes_on => last.text = format!("{} {}", last.text, line.trim_start()),
                _ if line.is_empty() => {}
                _ => {
                    commands.push(CommandLine { place: format!("{}:{at}", self.page), text: line.to_owned() })
                }
            }
            goes_on = more;
        }
        commands
    }
}

/// Returns a line of shell without its comment, which begins at a `#` after a blank.
fn without_comment(line: &str) -> &str {
    let code = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() };
    code.trim_end()
}
