//! Finds the columns of users, items, values and times in a table.

use std::path::Path;

use super::number;
use crate::error::cite;
use crate::{Error, Result};

/// The columns a caller asks for: by name, or by number counted from 0. What is not asked for is recognised by its
/// usual names (`user`, `userId`, `user_id` …), and value and time may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The user ids.
    pub user: Option<String>,
    /// The item ids.
    pub item: Option<String>,
    /// The ratings or weights; 1 where there is no such column.
    pub value: Option<String>,
    /// The times; 0 where there is no such column.
    pub time: Option<String>,
    /// In a table of titles, the titles.
    pub title: Option<String>,
}

impl Columns {
    /// Whether no column of the ratings is asked for.
    pub(super) fn is_default(&self) -> bool {
        let Self { user, item, value, time, title: _ } = self;
        [user, item, value, time].into_iter().all(Option::is_none)
    }

    fn asked(&self) -> impl Iterator<Item = &str> {
        let Self { user, item, value, time, title } = self;
        [user, item, value, time, title].into_iter().flatten().map(String::as_str)
    }
}

/// The columns taken, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// The user ids.
    pub user: usize,
    /// The item ids.
    pub item: usize,
    /// The values.
    pub value: Option<usize>,
    /// The times.
    pub time: Option<usize>,
}

const USER: &[&str] = &[
    "user",
    "userid",
    "uid",
    "customer",
    "customerid",
    "reviewerid",
    "member",
    "memberid",
    "account",
    "accountid",
    "visitorid",
    "listener",
    "listenerid",
    "reader",
    "readerid",
];
pub(super) const ITEM: &[&str] = &[
    "item",
    "itemid",
    "iid",
    "movie",
    "movieid",
    "product",
    "productid",
    "parentasin",
    "asin",
    "offer",
    "offerid",
    "article",
    "articleid",
    "song",
    "songid",
    "track",
    "trackid",
    "book",
    "bookid",
    "business",
    "businessid",
    "artist",
    "artistid",
    "anime",
    "animeid",
    "game",
    "gameid",
    "app",
    "appid",
    "show",
    "showid",
    "video",
    "videoid",
    "news",
    "newsid",
    "recipe",
    "recipeid",
    "beer",
    "beerid",
    "venue",
    "venueid",
    "hotel",
    "hotelid",
    "isbn",
    "sku",
];
const VALUE: &[&str] = &[
    "rating",
    "value",
    "score",
    "stars",
    "overall",
    "weight",
    "count",
    "plays",
    "playcount",
    "bookrating",
    "quantity",
    "preference",
];
const TIME: &[&str] =
    &["timestamp", "time", "unixtime", "unixreviewtime", "ts", "datetime", "date", "createdat", "ratedat"];
pub(super) const TITLE: &[&str] = &["title", "name", "itemname", "movietitle", "producttitle"];

/// Whether the first line of a text file is a header: it has a column that is asked for by name, the usual name of
/// a user or item, or two other usual names.
pub fn is_header(line: &[String], columns: &Columns) -> bool {
    let has = |usual: &[&[&str]]| {
        let usual = |name: &&String| usual.iter().any(|usual| usual.contains(&plain(name).as_str()));
        line.iter().filter(usual).count()
    };
    let by_name = |asked: &&str| asked.parse::<usize>().is_err();
    has(&[USER, ITEM]) > 0
        || has(&[VALUE, TIME, TITLE]) > 1
        || columns.asked().filter(by_name).any(|asked| line.iter().any(|name| name == asked))
}

/// Picks the columns of a table whose columns are called `names`.
///
/// # Errors
/// When a column that is asked for, or a user or item column, is not there.
pub fn pick(path: &Path, names: &[String], columns: &Columns) -> Result<Picked> {
    let need = |asked: &Option<String>, usual: &[&str], what: &str, option: &str| {
        find(path, names, asked, usual)?.ok_or_else(|| {
            let is_id = |name: &&String| {
                let name = plain(name);
                name.ends_with("id") && ![USER, ITEM].iter().any(|usual| usual.contains(&name.as_str()))
            };
            let column = names.iter().find(is_id).map_or("COLUMN", String::as_str);
            let expected =
                format!("a column of {what} ids, such as {:?}, or one named by {option} {column}", usual[0]);
            Error::malformed(path, format!("columns {}", list(names)), expected)
        })
    };
    Ok(Picked {
        user: need(&columns.user, USER, "user", "--user-col")?,
        item: need(&columns.item, ITEM, "item", "--item-col")?,
        value: find(path, names, &columns.value, VALUE)?,
        time: find(path, names, &columns.time, TIME)?,
    })
}

/// Picks the columns of a text file without a header from its first line: those asked for by number, or, where
/// none is asked for, user, item, value and time in this order.
///
/// # Errors
/// When a column asked for is not there, or nothing is asked for and the line does not look like ratings.
pub fn pick_without_header(path: &Path, line: &[String], columns: &Columns) -> Result<Picked> {
    if !columns.is_default() {
        let found = || format!("a first line {} that is no header", list(line));
        let need = |asked: &Option<String>, what: &str| {
            let missing = || Error::malformed(path, found(), format!("the {what} column to be named"));
            at_number(path, line, asked)?.ok_or_else(missing)
        };
        return Ok(Picked {
            user: need(&columns.user, "user")?,
            item: need(&columns.item, "item")?,
            value: at_number(path, line, &columns.value)?,
            time: at_number(path, line, &columns.time)?,
        });
    }
    let number = |at: usize| line.get(at).is_none_or(|field| number::float(field.as_bytes()).is_some());
    let time = line.get(3).is_none_or(|field| number::seconds(field.as_bytes()).is_some());
    let any_number = line.iter().any(|field| number::float(field.as_bytes()).is_some());
    if !(2..=4).contains(&line.len()) || !number(2) || !time || !any_number {
        let expected = "a header with columns such as \"user\" and \"item\", or user, item, rating and time in this order";
        return Err(Error::malformed(path, format!("a first line {}", list(line)), expected));
    }
    Ok(Picked { user: 0, item: 1, value: (line.len() > 2).then_some(2), time: (line.len() > 3).then_some(3) })
}

/// Returns the column asked for by name or else by number, or the one with the first of the usual names.
pub(super) fn find(
    path: &Path,
    names: &[String],
    asked: &Option<String>,
    usual: &[&str],
) -> Result<Option<usize>> {
    let Some(asked) = asked else {
        let place = |usual: &&str| names.iter().position(|name| plain(name) == *usual);
        return Ok(usual.iter().find_map(place));
    };
    match names.iter().position(|name| name == asked) {
        Some(at) => Ok(Some(at)),
        None => at_number(path, names, &Some(asked.clone())),
    }
}

/// Returns the column asked for by number.
fn at_number(path: &Path, names: &[String], asked: &Option<String>) -> Result<Option<usize>> {
    let Some(asked) = asked else { return Ok(None) };
    let at = asked.parse().ok().filter(|&at: &usize| at < names.len());
    at.map(Some).ok_or_else(|| {
        let found = format!("{} columns {}", names.len(), list(names));
        Error::malformed(path, found, format!("a column {asked:?}"))
    })
}

/// Returns names for a message: the first ones, shortened where they are long.
pub(super) fn list(names: &[String]) -> String {
    const MOST: usize = 30;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| cite(name.as_bytes())).collect();
    format!("[{}{}]", shown.join(", "), if names.len() > MOST { ", ..." } else { "" })
}

/// Returns a name in lower case without separators.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &str) -> Vec<String> {
        names.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn usual_names_are_found_in_any_order_and_spelling() {
        let picked =
            pick(Path::new("f"), &names("Timestamp,MOVIE_ID,x,user-id"), &Columns::default()).unwrap();
        assert_eq!(picked, Picked { user: 3, item: 1, value: None, time: Some(0) });
        // Those of last.fm, of MyAnimeList and of Book-Crossing.
        for line in ["userID,artistID,weight", "user_id,anime_id,rating", "User-ID,ISBN,Book-Rating"] {
            let picked = pick(Path::new("f"), &names(line), &Columns::default()).unwrap();
            assert_eq!(picked, Picked { user: 0, item: 1, value: Some(2), time: None }, "{line}");
        }
    }

    #[test]
    fn a_name_asked_for_wins_over_a_number_and_a_usual_name() {
        let columns = Columns { user: Some("1".into()), item: Some("0".into()), ..Columns::default() };
        let picked = pick(Path::new("f"), &names("who,user,item,1"), &columns).unwrap();
        assert_eq!((picked.user, picked.item), (3, 0));
    }

    #[test]
    fn numbers_count_columns_even_where_a_field_is_that_number() {
        let columns = Columns { user: Some("2".into()), item: Some("0".into()), ..Columns::default() };
        let line = names("0,2,7");
        assert!(!is_header(&line, &columns));
        let picked = pick_without_header(Path::new("f"), &line, &columns).unwrap();
        assert_eq!((picked.user, picked.item, picked.value), (2, 0, None));
    }

    #[test]
    fn an_id_that_is_also_a_usual_name_makes_no_header() {
        let header = |line| is_header(&names(line), &Columns::default());
        assert!(!header("u1,time,5"));
        assert!(header("who,stars,date") && header("x,User ID"));
    }

    #[test]
    fn a_missing_column_lists_those_there_are() {
        let error = |line| pick(Path::new("f"), &names(line), &Columns::default()).unwrap_err().to_string();
        assert_eq!(
            error("when,what"),
            r#"f: found columns ["when", "what"], expected a column of user ids, such as "user", or one named by --user-col COLUMN"#
        );
        assert_eq!(
            error("userID,thingID,weight"),
            r#"f: found columns ["userID", "thingID", "weight"], expected a column of item ids, such as "item", or one named by --item-col thingID"#
        );
        let columns = Columns { value: Some("stars".into()), ..Columns::default() };
        let error = pick(Path::new("f"), &names("user,item"), &columns).unwrap_err().to_string();
        assert_eq!(error, r#"f: found 2 columns ["user", "item"], expected a column "stars""#);
    }

    #[test]
    fn without_a_header_the_first_line_must_look_like_ratings() {
        let pick = |line| pick_without_header(Path::new("f"), &names(line), &Columns::default()).ok();
        assert_eq!(pick("a,b,3.5"), Some(Picked { user: 0, item: 1, value: Some(2), time: None }));
        assert_eq!(pick("a,b"), None);
        assert_eq!(pick("1"), None);
        assert_eq!(pick("1,2,x"), None);
    }
}
