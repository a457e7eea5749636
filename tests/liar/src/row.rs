//! What came of a lie: the line of the table.

use std::fmt;

/// One line: lie → what the client (or node) said → kind of evidence → whom it names.
#[derive(Debug, Clone)]
pub struct Row {
    /// The line of docs/trust.md.
    pub lie: &'static str,
    /// What was said by whom it was told to.
    pub said: String,
    /// The kind of evidence, where the contradiction is signed.
    pub evidence: Option<String>,
    /// `guilty` or `suspects`, and the keys it names.
    pub named: Vec<String>,
}

/// All lines.
#[derive(Debug, Default)]
pub struct Table(pub Vec<Row>);

/// Most characters of what was said that are shown.
const SHOWN: usize = 110;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<45} | {:<SHOWN$} | {:<12} | named", "lie", "what was said", "evidence")?;
        for row in &self.0 {
            let said: String =
                row.said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect();
            let evidence = row.evidence.as_deref().unwrap_or("none");
            let named = if row.named.is_empty() { "—".to_owned() } else { row.named.join(" ") };
            writeln!(f, "{:<45} | {said:<SHOWN$} | {evidence:<12} | {named}", row.lie)?;
        }
        Ok(())
    }
}
