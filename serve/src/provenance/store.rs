//! The blocks of an index on disk: a redb file, which is one file, written by transactions, and read while it is written.
//!
//! Several processes may have it open, so that a person is erased from the index of a service that runs: who erases notes the
//! user, and the service leaves out what it has in memory of the user up to then.

use std::collections::VecDeque;
use std::fs::Permissions;
use std::ops::RangeBounds;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use redb::{
    Builder, ConcurrencyMode, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use super::block::{Block, Encoded, Head};
use super::filter::may_have;
use super::ids::{IdHash, IdHasher};
use crate::{Error, Result};

/// The name of the file.
const NAME: &str = "events.redb";

/// The memory that redb may use for pages.
const CACHE: usize = 16 << 20;

/// The bytes of a part of a body: with what redb adds a page of 32 KiB, as it gives large values pages of powers of two.
const PART: usize = (32 << 10) - 64;

/// The bytes that what is written anew may take for a moment beside what it replaces.
const ROOM: u64 = 16 << 20;

/// How many blocks an erasure writes at once, so that its pages fit in that room.
const ERASED_BLOCKS: usize = 8;

/// For how long it is kept who was erased: longer than an event waits in memory.
const ERASED_MS: i64 = 24 * 3600 * 1000;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
const FILTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("filters");
const BODIES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("bodies");
/// Who was erased, and when, in Unix milliseconds.
const ERASED: TableDefinition<'_, u64, (u64, i64)> = TableDefinition::new("erased");

type Stored<T> = std::result::Result<T, redb::Error>;

/// The file of an index.
pub struct Store {
    database: Database,
    /// The hashes of ids by the key of this index.
    pub ids: IdHasher,
}

/// What is known of a block without reading it.
struct Size {
    number: u64,
    to_ms: i64,
    bytes: u64,
}

/// The blocks of a store as its writer knows them.
pub struct Sizes {
    all: VecDeque<Size>,
    /// The bytes of all.
    pub bytes: u64,
}

fn failed(action: &'static str) -> impl Fn(redb::Error) -> Error {
    move |source| Error::Index { action, source: Box::new(source) }
}

impl Store {
    /// Opens the index in a directory, or makes it.
    ///
    /// # Errors
    /// When it cannot be written, or is no index.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(burnrec_data::Error::io("make", dir))?;
        let (store, file) = (Self::at(dir)?, dir.join(NAME));
        // What stands in it is for those who run the service.
        let own = Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, own).map_err(burnrec_data::Error::io("protect", &file))?;
        Ok(store)
    }

    /// Opens the index in a directory, where there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is no index.
    pub fn find(dir: &Path) -> Result<Option<Self>> {
        dir.join(NAME).exists().then(|| Self::at(dir)).transpose()
    }

    fn at(dir: &Path) -> Result<Self> {
        let open = || -> Stored<Self> {
            let mut builder = Builder::new();
            builder.set_cache_size(CACHE).set_concurrency_mode(ConcurrencyMode::MultiWriter);
            let database = builder.create(dir.join(NAME))?;
            let write = database.begin_write()?;
            let key = {
                let mut meta = write.open_table(META)?;
                let known = meta.get("key")?.and_then(|key| key.value().try_into().ok());
                let drawn = rand_key();
                let key: [u8; 16] = known.unwrap_or(drawn);
                meta.insert("key", &key[..])?;
                write.open_table(HEADS)?;
                write.open_table(FILTERS)?;
                write.open_table(BODIES)?;
                write.open_table(ERASED)?;
                key
            };
            write.commit()?;
            Ok(Self { database, ids: IdHasher::new(&key) })
        };
        open().map_err(failed("open the index"))
    }

    /// Returns what blocks there are.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sizes(&self) -> Result<Sizes> {
        let read = || -> Stored<Sizes> {
            let read = self.database.begin_read()?;
            let (heads, filters) = (read.open_table(HEADS)?, read.open_table(FILTERS)?);
            let mut sizes = Sizes { all: VecDeque::new(), bytes: 0 };
            for entry in heads.iter()? {
                let (number, head) = entry?;
                let number = number.value();
                let of_filter = filters.get(number)?.map_or(0, |of| of.value().len());
                let known = serde_json::from_slice::<Head>(head.value()).ok();
                // What cannot be read is the first to go.
                let (to_ms, body) = known.map_or((0, 0), |known| (known.to_ms, known.body_bytes()));
                let bytes = (head.value().len() + of_filter + body) as u64;
                sizes.set(Size { number, to_ms, bytes });
            }
            Ok(sizes)
        };
        read().map_err(failed("read the index"))
    }

    /// Writes blocks by their numbers, and removes the oldest of those that are older than `since_ms` or more than `bytes`
    /// together. `blocks` is told who was erased up to when, and returns the blocks without them.
    ///
    /// # Errors
    /// When they are not written; nothing of it is then.
    pub fn write(
        &self,
        sizes: &mut Sizes,
        since_ms: i64,
        bytes: u64,
        blocks: impl FnOnce(&[(IdHash, i64)]) -> Vec<(u64, Encoded)>,
    ) -> Result<()> {
        let write = || -> Stored<Vec<Size>> {
            let write = self.database.begin_write()?;
            let new = blocks(&take_erased(&write)?);
            let new_sizes = new.iter().map(|(number, block)| {
                put(&write, *number, block)?;
                Ok(Size { number: *number, to_ms: block.to_ms, bytes: block.bytes() })
            });
            let new_sizes = new_sizes.collect::<Stored<Vec<Size>>>()?;
            let added: u64 = new_sizes.iter().map(|of| of.bytes).sum();
            // redb grows a file by doubling it, so that half of what it may have is for blocks.
            let most = (bytes / 2).saturating_sub(ROOM + added);
            while let Some(oldest) = sizes.all.front().filter(|of| of.to_ms < since_ms || sizes.bytes > most)
            {
                drop_block(&write, oldest.number)?;
                sizes.bytes -= oldest.bytes;
                sizes.all.pop_front();
            }
            write.commit()?;
            Ok(new_sizes)
        };
        match write() {
            Ok(new) => {
                new.into_iter().for_each(|size| sizes.set(size));
                Ok(())
            }
            Err(error) => {
                // The blocks are there still of which it was taken that they go.
                if let Ok(found) = self.sizes() {
                    *sizes = found;
                }
                Err(failed("write the index")(error))
            }
        }
    }

    /// Begins to read: what is written from then on is not seen.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Reading> {
        Ok(Reading(self.database.begin_read().map_err(|error| failed("read the index")(error.into()))?))
    }

    /// Takes a user out of all blocks, and out of what the service has in memory; returns how many events there were.
    ///
    /// # Errors
    /// When the file cannot be written; a part may be erased then, and the same call goes on with the rest.
    pub fn erase(&self, user: IdHash, now_ms: i64) -> Result<usize> {
        let erase = || -> Stored<usize> {
            let (write, mut erased) = (self.database.begin_write()?, 0);
            let numbers: Vec<u64> = {
                // First, so that nothing of the user comes from memory meanwhile.
                let mut all = write.open_table(ERASED)?;
                let next = all.last()?.map_or(0, |(number, _)| number.value() + 1);
                all.insert(next, (user, now_ms))?;
                let filters = write.open_table(FILTERS)?;
                let may = filters.iter()?.filter_map(|entry| match entry {
                    Ok((number, filter)) => may_have(filter.value(), user).then(|| Ok(number.value())),
                    Err(error) => Some(Err(error)),
                });
                may.collect::<std::result::Result<_, _>>()?
            };
            write.commit()?;
            for some in numbers.chunks(ERASED_BLOCKS) {
                let write = self.database.begin_write()?;
                for &number in some {
                    erased += erase_from(&write, number, user)?;
                }
                write.commit()?;
            }
            Ok(erased)
        };
        erase().map_err(failed("erase from the index"))
    }
}

/// Takes a user out of a block; returns how many events there were.
fn erase_from(write: &WriteTransaction, number: u64, user: IdHash) -> Stored<usize> {
    let found = block(&write.open_table(HEADS)?, &write.open_table(BODIES)?, number)?;
    let Some(mut block) = found else { return Ok(0) };
    let erased = block.remove(|event| event.user == user);
    if erased > 0 {
        put(write, number, &block.encode())?;
    }
    Ok(erased)
}

/// Returns who was erased and when, and forgets those of whom nothing can be in memory any more.
fn take_erased(write: &WriteTransaction) -> Stored<Vec<(IdHash, i64)>> {
    let mut table = write.open_table(ERASED)?;
    let old = burnrec_data::calendar::unix_ms() - ERASED_MS;
    if table.first()?.is_some_and(|(_, of)| of.value().1 < old) {
        table.retain(|_, (_, at_ms)| at_ms >= old)?;
    }
    let all = table.iter()?.map(|entry| entry.map(|(_, of)| of.value()));
    Ok(all.collect::<std::result::Result<_, _>>()?)
}

fn put(write: &WriteTransaction, number: u64, block: &Encoded) -> Stored<()> {
    drop_block(write, number)?;
    write.open_table(HEADS)?.insert(number, &block.head[..])?;
    write.open_table(FILTERS)?.insert(number, &block.filter[..])?;
    let mut bodies = write.open_table(BODIES)?;
    for (at, part) in block.body.chunks(PART).enumerate() {
        bodies.insert((number, at as u32), part)?;
    }
    Ok(())
}

fn drop_block(write: &WriteTransaction, number: u64) -> Stored<()> {
    write.open_table(HEADS)?.remove(number)?;
    write.open_table(FILTERS)?.remove(number)?;
    write.open_table(BODIES)?.retain_in((number, 0)..=(number, u32::MAX), |_, _| false)?;
    Ok(())
}

/// Reads a block; none where there is none, or what is there is no block.
fn block(
    heads: &impl ReadableTable<u64, &'static [u8]>,
    bodies: &impl ReadableTable<(u64, u32), &'static [u8]>,
    number: u64,
) -> Stored<Option<Block>> {
    let Some(head) = heads.get(number)?.and_then(|head| serde_json::from_slice::<Head>(head.value()).ok())
    else {
        return Ok(None);
    };
    let mut body = Vec::new();
    for part in bodies.range((number, 0)..=(number, u32::MAX))? {
        body.extend_from_slice(part?.1.value());
    }
    Ok(Block::decode(&head, &body))
}

impl Sizes {
    /// Sets the size of a block; the last of them may be written again.
    fn set(&mut self, size: Size) {
        self.bytes += size.bytes;
        if let Some(last) = self.all.pop_back_if(|last| last.number == size.number) {
            self.bytes -= last.bytes;
        }
        self.all.push_back(size);
    }

    /// Returns the number that the next block gets.
    pub fn next(&self) -> u64 {
        self.all.back().map_or(0, |last| last.number + 1)
    }
}

/// An index as it stood at one moment.
pub struct Reading(ReadTransaction);

impl Reading {
    /// Calls `each` with the number and the head of the blocks, the newest first, until it returns false.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn heads(
        &self,
        range: impl RangeBounds<u64>,
        mut each: impl FnMut(u64, Head) -> Result<bool>,
    ) -> Result<()> {
        let failed = failed("read the index");
        let heads = self.0.open_table(HEADS).map_err(|error| failed(error.into()))?;
        let all = heads.range::<u64>(range).map_err(|error| failed(error.into()))?;
        for entry in all.rev() {
            let (number, head) = entry.map_err(|error| failed(error.into()))?;
            let Ok(head) = serde_json::from_slice(head.value()) else { continue };
            if !each(number.value(), head)? {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether a block may have all of some hashes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn may_have(&self, number: u64, hashes: &[IdHash]) -> Result<bool> {
        let read = || -> Stored<bool> {
            let filter = self.0.open_table(FILTERS)?.get(number)?;
            Ok(filter.is_none_or(|filter| hashes.iter().all(|hash| may_have(filter.value(), *hash))))
        };
        read().map_err(failed("read the index"))
    }

    /// Reads a block.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn block(&self, number: u64) -> Result<Option<Block>> {
        let read = || -> Stored<Option<Block>> {
            block(&self.0.open_table(HEADS)?, &self.0.open_table(BODIES)?, number)
        };
        read().map_err(failed("read the index"))
    }
}

/// Draws a key: by the hasher that the standard library seeds from the system for each process.
fn rand_key() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let draw = |n: u64| RandomState::new().hash_one(n).to_le_bytes();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&draw(1));
    key[8..].copy_from_slice(&draw(2));
    key
}
