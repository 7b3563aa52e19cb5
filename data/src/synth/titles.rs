//! Draws titles for synthetic items. The noun shows the taste, so that people can see what a model recommends.

use rand::RngExt;

use super::world::World;
use crate::Titles;
use crate::rng::stream;

/// The nouns of the titles; two tastes share a list.
const NOUNS: [[&str; 8]; 16] = [
    ["Harbour", "Lighthouse", "Tide", "Sailor", "Island", "Reef", "Anchor", "Voyage"],
    ["Detective", "Alibi", "Witness", "Verdict", "Suspect", "Ransom", "Clue", "Fingerprint"],
    ["Starship", "Comet", "Orbit", "Galaxy", "Android", "Nebula", "Airlock", "Signal"],
    ["Waltz", "Serenade", "Orchestra", "Piano", "Melody", "Cabaret", "Tango", "Encore"],
    ["Saddle", "Canyon", "Sheriff", "Outlaw", "Prairie", "Stagecoach", "Mustang", "Ranch"],
    ["Kingdom", "Castle", "Knight", "Dragon", "Crown", "Wizard", "Sword", "Prophecy"],
    ["Haunting", "Crypt", "Phantom", "Nightmare", "Attic", "Curse", "Shadow", "Asylum"],
    ["Wedding", "Sweetheart", "Bouquet", "Letter", "Kiss", "Honeymoon", "Valentine", "Proposal"],
    ["Regiment", "Trench", "Convoy", "Armistice", "Battalion", "Frontline", "Siege", "Medal"],
    ["Champion", "Marathon", "Stadium", "Boxer", "Season", "Referee", "Pitcher", "Final"],
    ["Kitchen", "Banquet", "Vineyard", "Baker", "Recipe", "Orchard", "Feast", "Teahouse"],
    ["Puppy", "Meadow", "Rabbit", "Treehouse", "Toymaker", "Circus", "Kite", "Lullaby"],
    ["Embassy", "Cipher", "Agent", "Dossier", "Courier", "Defector", "Border", "Passport"],
    ["Summit", "Glacier", "Expedition", "Avalanche", "Basecamp", "Wilderness", "Trail", "Ridge"],
    ["Casino", "Heist", "Vault", "Gambler", "Getaway", "Forger", "Jackpot", "Diamond"],
    ["Senator", "Election", "Courtroom", "Scandal", "Headline", "Ballot", "Minister", "Jury"],
];

const ADJECTIVES: [&str; 64] = [
    "Amber",
    "Silent",
    "Crimson",
    "Hidden",
    "Golden",
    "Broken",
    "Distant",
    "Winter",
    "Velvet",
    "Hollow",
    "Scarlet",
    "Restless",
    "Silver",
    "Forgotten",
    "Burning",
    "Gentle",
    "Midnight",
    "Wandering",
    "Emerald",
    "Bitter",
    "Frozen",
    "Lonely",
    "Ivory",
    "Reckless",
    "Painted",
    "Sleeping",
    "Copper",
    "Vanishing",
    "Paper",
    "Crooked",
    "Electric",
    "Last",
    "Second",
    "Borrowed",
    "Quiet",
    "Violet",
    "Stolen",
    "Sunlit",
    "Iron",
    "Curious",
    "Marble",
    "Secret",
    "Endless",
    "Wooden",
    "Rising",
    "Glass",
    "Faithful",
    "Azure",
    "Hungry",
    "Northern",
    "Falling",
    "Innocent",
    "Cobalt",
    "Thirteenth",
    "Dusty",
    "Proud",
    "Lost",
    "Laughing",
    "Rusty",
    "Summer",
    "Unlikely",
    "Whispering",
    "Perfect",
    "Blue",
];

/// Returns one title per item, no two the same: `Amber Harbour (1987)`.
pub(super) fn titles(world: &World, seed: u64) -> Titles {
    const PAIRS: usize = NOUNS[0].len() * ADJECTIVES.len();
    let mut rng = stream(seed, "synth.titles", 0);
    let mut used = [0usize; NOUNS.len()];
    let title = |&taste: &u8| {
        let list = usize::from(taste) % NOUNS.len();
        // An odd step through a power of two visits every pair before it repeats one.
        let pair = (used[list] * 181 + list * 37) % PAIRS;
        let sequel = used[list] / PAIRS + 1;
        used[list] += 1;
        let (adjective, noun) = (ADJECTIVES[pair % ADJECTIVES.len()], NOUNS[list][pair / ADJECTIVES.len()]);
        let year = 1999 - (70.0 * rng.random::<f32>().powi(2)) as u32;
        match sequel {
            1 => format!("{adjective} {noun} ({year})"),
            sequel => format!("{adjective} {noun} {sequel} ({year})"),
        }
    };
    Titles(world.taste_of.iter().map(title).collect())
}
