//! Ids as the index has them: hashes of 48 bits, by a key that each index draws for itself.
//!
//! They are short and of one length; they do not hide an id from who has the file, which holds the key. Of a thousand million
//! events a search brings up one that is not of its id with a probability of 4 in a million.

use burnrec_data::Id;
use siphasher::sip::SipHasher13;

/// The bytes of a hash on disk.
pub const BYTES: usize = 6;

/// An id as the index has it; 0 where there is none.
pub type IdHash = u64;

/// Hashes ids. A user, an item and a request of the same id have different hashes.
#[derive(Clone)]
pub struct IdHasher {
    users: SipHasher13,
    items: SipHasher13,
    requests: SipHasher13,
}

impl IdHasher {
    /// Takes the key of an index.
    pub fn new(key: &[u8; 16]) -> Self {
        let of = |what: u8| {
            let mut key = *key;
            key[15] ^= what;
            SipHasher13::new_with_key(&key)
        };
        Self { users: of(0), items: of(1), requests: of(2) }
    }

    /// Returns the hash of a user's id.
    pub fn user(&self, id: Id<'_>) -> IdHash {
        hash(&self.users, id)
    }

    /// Returns the hash of an item's id.
    pub fn item(&self, id: Id<'_>) -> IdHash {
        hash(&self.items, id)
    }

    /// Returns the hash of the `id` of a request.
    pub fn request(&self, id: Id<'_>) -> IdHash {
        hash(&self.requests, id)
    }
}

/// Returns 48 bits that are not all 0.
fn hash(hasher: &SipHasher13, id: Id<'_>) -> IdHash {
    let hash = match id.canonical() {
        Id::Int(id) => {
            // One byte more than any text of 8 bytes.
            let mut bytes = [1; 9];
            bytes[..8].copy_from_slice(&id.to_le_bytes());
            hasher.hash(&bytes)
        }
        Id::Str(text) => hasher.hash(text.as_bytes()),
    };
    (hash >> 16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_hash_in_an_index_and_another_in_the_next() {
        let [one, other] = [[7; 16], [8; 16]].map(|key| IdHasher::new(&key));
        assert_eq!(one.user(Id::Int(7)), one.user(Id::Str("7")));
        let all = [
            one.user(Id::Int(7)),
            one.user(Id::Str("07")),
            one.item(Id::Int(7)),
            one.request(Id::Int(7)),
            other.user(Id::Int(7)),
        ];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.iter().all(|hash| *hash > 0 && *hash < 1 << 48));
    }
}
