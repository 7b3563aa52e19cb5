//! Who calls: a name, how it was shown, and what it may do.

use std::borrow::Cow;

use crate::config::Role;

/// How a caller shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// By a named token.
    Token,
    /// By a client certificate.
    Certificate,
    /// By a token of an OpenID Connect provider.
    Oidc,
}

impl Kind {
    /// Returns its word, which the audit log and metrics have.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Oidc => "oidc",
        }
    }
}

/// Who brought a token or a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The caller's name.
    pub name: String,
    /// How it was shown.
    pub kind: Kind,
    /// What it may do.
    pub roles: Vec<Role>,
}

impl Bearer {
    /// Returns the caller's name as `tenants.NAME.identities` has it: that of a named token as it is, and else after the word for how
    /// it was shown, since whoever gives names there does not give them here.
    pub fn identity(&self) -> Cow<'_, str> {
        match self.kind {
            Kind::Token => Cow::from(&self.name),
            kind => Cow::from(format!("{}:{}", kind.name(), self.name)),
        }
    }

    /// Returns whether a role is among those of the caller, or included in one.
    pub fn may(&self, asked: Role) -> bool {
        self.roles.iter().any(|role| role.includes(asked))
    }

    /// Returns the words of the roles.
    pub fn roles(&self) -> String {
        let words: Vec<&str> = self.roles.iter().map(|role| role.name()).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }
}
