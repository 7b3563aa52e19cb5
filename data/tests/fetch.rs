//! Downloads against a local HTTP server: whole, cut off, wrong, absent; never anything half-written.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use burnrec_data::fetch::{Checked, fetch};
use md5::{Digest, Md5};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// One answer of the server: the path it is for, the length it claims, and the body.
#[derive(Clone)]
struct Page {
    path: &'static str,
    claimed: usize,
    body: Vec<u8>,
}

fn page(path: &'static str, body: impl Into<Vec<u8>>) -> Page {
    let body = body.into();
    Page { path, claimed: body.len(), body }
}

/// Serves the pages, and 404 for others, for as long as the test process lives; returns the address.
fn serve(pages: Vec<Page>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/data", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // In some tests the client disconnects in the middle of an answer.
            let _ = answer(stream, &pages);
        }
    });
    address
}

fn answer(mut stream: TcpStream, pages: &[Page]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    match pages.iter().find(|page| format!("/data/{}", page.path) == path) {
        Some(page) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.claimed
            )?;
            stream.write_all(&page.body)
        }
        None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn ml_100k() -> Vec<u8> {
    archive(&[("ml-100k/u.data", &b"1\t2\t3\t4\n".repeat(50_000)), ("ml-100k/sub/README", b"hello")])
}

fn md5(bytes: &[u8]) -> String {
    burnrec_data::hash::hex(&Md5::digest(bytes))
}

/// Returns the error of fetching ml-100k from these pages; the cache must be as empty as before.
fn refused(pages: Vec<Page>) -> String {
    let cache = tempfile::tempdir().unwrap();
    let error = fetch("ml-100k", Some(&serve(pages)), cache.path(), &|_, _| {}).unwrap_err().to_string();
    assert_eq!(names(cache.path()), [""; 0], "{error}");
    error
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_download_is_checked_unpacked_and_found_again_without_network() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().join("new/cache");
    let (zip, seen) = (ml_100k(), RefCell::new(Vec::new()));
    let sum = md5(&zip);
    let address = serve(vec![
        page("ml-100k.zip", zip.clone()),
        page("ml-100k.zip.md5", format!("MD5 (ml-100k.zip) = {}\n", sum.to_uppercase())),
    ]);
    let progress = |done, total| seen.borrow_mut().push((done, total));
    let fetched = fetch("ml-100k", Some(&format!("{address}/")), &cache, &progress).unwrap();
    assert_eq!((&fetched.path, fetched.checked), (&cache.join("ml-100k"), Checked::Md5(sum)));
    assert_eq!(names(&cache), ["ml-100k"]);
    assert_eq!(std::fs::read(fetched.path.join("sub/README")).unwrap(), b"hello");
    let seen = seen.into_inner();
    let size = zip.len() as u64;
    assert_eq!((seen[0], seen.last()), ((0, Some(size)), Some(&(size, Some(size)))));
    assert!(seen.is_sorted());
    let again = fetch("ml-100k", Some("http://127.0.0.1:1"), &cache, &|_, _| panic!("no download")).unwrap();
    assert_eq!((again.path, again.checked), (fetched.path, Checked::Cached));
}

#[test]
fn without_a_published_checksum_the_result_says_so() {
    let cache = tempfile::tempdir().unwrap();
    let zip = archive(&[("ratings.csv", b"userId,movieId,rating\n1,2,3\n"), ("movies.csv", b"")]);
    let sum = md5(&zip);
    let address = serve(vec![page("ml-latest-small.zip", zip)]);
    let fetched = fetch("ml-latest-small", Some(&address), cache.path(), &|_, _| {}).unwrap();
    assert_eq!(fetched.checked, Checked::NoChecksum(sum));
    assert!(fetched.path.join("ratings.csv").is_file(), "files at the top of the archive");
}

#[test]
fn a_body_that_falls_short() {
    let zip = ml_100k();
    let cut = Page { path: "ml-100k.zip", claimed: zip.len(), body: zip[..zip.len() - 9].to_vec() };
    let error = refused(vec![cut]);
    let expected = (format!("found {} bytes", zip.len() - 9), format!("expected {} bytes", zip.len()));
    assert!(error.contains(&expected.0) && error.ends_with(&expected.1), "{error}");
}

#[test]
fn a_wrong_checksum() {
    let (zip, wrong) = (ml_100k(), "0123456789abcdef0123456789abcdef");
    let sum = md5(&zip);
    let error =
        refused(vec![page("ml-100k.zip", zip), page("ml-100k.zip.md5", format!("{wrong}  ml-100k.zip\n"))]);
    assert!(error.ends_with(&format!("/data/ml-100k.zip: found MD5 {sum}, expected MD5 {wrong}")), "{error}");
    let error = refused(vec![page("ml-100k.zip", ml_100k()), page("ml-100k.zip.md5", "<html>sorry</html>")]);
    assert!(error.ends_with("found \"<html>sorry</html>\", expected an MD5 sum of 32 hex digits"), "{error}");
}

#[test]
fn no_page_and_no_server() {
    let error = refused(vec![]);
    assert!(
        error.ends_with("/data/ml-100k.zip: found no such page (404), expected a zip archive"),
        "{error}"
    );
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let error =
        fetch("ml-1m", Some(&format!("http://{free}")), cache.path(), &|_, _| {}).unwrap_err().to_string();
    assert!(error.contains("/ml-1m.zip") && error.contains("refused"), "{error}");
    let error = fetch("ml-2m", None, cache.path(), &|_, _| {}).unwrap_err().to_string();
    assert!(error.starts_with("dataset: found \"ml-2m\", expected one of ml-100k, ml-1m"), "{error}");
}

#[test]
fn what_is_no_archive_of_the_dataset() {
    let error = refused(vec![page("ml-100k.zip", "<html>not here</html>")]);
    assert!(error.ends_with("expected a zip archive of files"), "{error}");
    let error = refused(vec![page("ml-100k.zip", archive(&[("ml-100k/README", b"x")]))]);
    assert!(error.ends_with("expected an archive with u.data"), "{error}");
    let mut damaged = ml_100k();
    let middle = damaged.len() / 4;
    damaged[middle] ^= 0x55;
    let error = refused(vec![page("ml-100k.zip", damaged)]);
    assert!(error.contains("ml-100k.zip: found "), "{error}");
}

#[test]
fn an_entry_that_leaves_its_folder() {
    for name in ["../evil", "/tmp/evil", "ml-100k/../../evil"] {
        let error = refused(vec![page("ml-100k.zip", archive(&[("ml-100k/u.data", b"x"), (name, b"x")]))]);
        assert!(error.contains("a link or outside of its folder"), "{name}: {error}");
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("ml-100k/u.data", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let error = refused(vec![page("ml-100k.zip", zip.finish().unwrap().into_inner())]);
    assert!(error.contains("a link or outside of its folder"), "{error}");
}
