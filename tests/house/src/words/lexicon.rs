//! Words that the rules name.

/// Openings that no doc summary has.
pub(super) const OPENERS: &[&str] = &["How", "It", "What", "Whatever", "Whether", "Who", "Whoever", "Whose"];

/// Words that a reader who knows the field would have to learn first, or that hide the subject of a clause.
pub(super) const DIALECT: &[&str] = &[
    "heed",
    "heeded",
    "heeds",
    "leash",
    "manieth",
    "nobody",
    "particulars",
    "somebody",
    "tidy",
    "unsettle",
    "whoever",
    "whomever",
];

/// Phrases that hide the subject of a clause.
pub(super) const PHRASES: &[&str] =
    &["are asked", "are told", "be asked", "be told", "is asked", "is to be", "is told", "was told", "were told"];

/// Phrases that no message has: what failed stands at its beginning, "cannot ...".
pub(super) const MESSAGE_PHRASES: &[&str] = &["there is no ", "there are no ", " is no ", " are no "];

/// Verbs in the third person, sorted.
#[rustfmt::skip] // one word a line is a long file
pub(super) const VERBS: &[&str] = &[
    "Accepts", "Acknowledges", "Acquires", "Activates", "Adds", "Adjusts", "Admits", "Advances", "Aligns",
    "Allocates", "Allows", "Answers", "Appends", "Applies", "Arms", "Asks", "Asserts", "Assigns", "Associates",
    "Attaches", "Attempts", "Balances", "Begins", "Binds", "Blocks", "Boots", "Borrows", "Bounds", "Breaks",
    "Brings", "Builds", "Calculates", "Calls", "Cancels", "Captures", "Carries", "Catches", "Changes",
    "Charges", "Checks", "Claims", "Clamps", "Classifies", "Cleans", "Clears", "Closes", "Collects", "Combines",
    "Compares", "Completes", "Computes", "Configures", "Confirms", "Connects", "Consumes", "Continues",
    "Converts", "Copies", "Counts", "Creates", "Cuts", "Decides", "Declares", "Decodes", "Decrements",
    "Defines", "Deletes", "Delivers", "Denies", "Derives", "Describes", "Destroys", "Detaches", "Determines",
    "Digests", "Disables", "Discards", "Disconnects", "Discovers", "Dispatches", "Displays", "Does", "Drains",
    "Draws", "Drives", "Drops", "Elects", "Emits", "Empties", "Enables", "Encodes", "Ends", "Enforces",
    "Enqueues", "Ensures", "Enters", "Enumerates", "Erases", "Establishes", "Estimates", "Evaluates",
    "Examines", "Exchanges", "Executes", "Exits", "Expects", "Expires", "Extends", "Extracts", "Fails", "Feeds",
    "Fetches", "Fills", "Filters", "Finds", "Finishes", "Fits", "Flushes", "Folds", "Follows", "Forces",
    "Forgets", "Formats", "Forwards", "Frees", "Gathers", "Generates", "Gets", "Gives", "Grants", "Groups",
    "Grows", "Guards", "Halts", "Handles", "Hands", "Has", "Holds", "Identifies", "Ignores", "Implements",
    "Includes", "Increments", "Indicates", "Informs", "Initializes", "Injects", "Inserts", "Inspects",
    "Installs", "Interprets", "Interrupts", "Invalidates", "Invokes", "Issues", "Iterates", "Joins", "Judges",
    "Keeps", "Kills", "Launches", "Leaves", "Lends", "Lets", "Lifts", "Limits", "Links", "Listens", "Lists",
    "Loads", "Locates", "Locks", "Logs", "Looks", "Loops", "Lowers", "Makes", "Manages", "Maps", "Marks",
    "Masks", "Matches", "Measures", "Merges", "Models", "Modifies", "Moves", "Multiplies", "Names",
    "Negotiates", "Normalizes", "Notes", "Notices", "Notifies", "Obtains", "Offers", "Opens", "Orders",
    "Outputs", "Owns", "Packs", "Pads", "Panics", "Parses", "Passes", "Pauses", "Performs", "Picks", "Pings",
    "Places", "Plans", "Plugs", "Points", "Polls", "Pops", "Populates", "Posts", "Prepares", "Presents",
    "Prevents", "Prints", "Processes", "Produces", "Programs", "Prompts", "Protects", "Provides", "Publishes",
    "Pulls", "Pushes", "Puts", "Queries", "Queues", "Raises", "Reaches", "Reacts", "Reads", "Rebuilds",
    "Recalculates", "Receives", "Reclaims", "Recognizes", "Recomputes", "Reconnects", "Records", "Recovers",
    "Redirects", "Reduces", "Refills", "Refreshes", "Refuses", "Registers", "Rejects", "Releases", "Reloads",
    "Remembers", "Removes", "Renames", "Renders", "Repeats", "Replaces", "Replays", "Replies", "Reports",
    "Represents", "Represses", "Requests", "Reserves", "Resets", "Resolves", "Responds", "Restarts", "Restores",
    "Resumes", "Retires", "Retries", "Retrieves", "Returns", "Reuses", "Reverses", "Revokes", "Rewrites",
    "Rings", "Rolls", "Rounds", "Routes", "Runs", "Samples", "Saturates", "Saves", "Says", "Scans", "Schedules",
    "Scrubs", "Seals", "Searches", "Seeds", "Selects", "Sends", "Separates", "Serves", "Sets", "Settles",
    "Shares", "Shifts", "Shows", "Shrinks", "Shuts", "Signals", "Simulates", "Skips", "Sleeps", "Slices",
    "Sorts", "Spawns", "Specifies", "Splits", "Spreads", "Stands", "Starts", "Stays", "Steps", "Stops",
    "Stores", "Strips", "Subscribes", "Subtracts", "Suppresses", "Suspends", "Swaps", "Sweeps", "Switches",
    "Synchronizes", "Takes", "Tells", "Terminates", "Tests", "Ticks", "Toggles", "Traces", "Tracks", "Trains",
    "Transfers", "Transforms", "Transitions", "Translates", "Transmits", "Traps", "Traverses", "Treats",
    "Tries", "Triggers", "Trims", "Truncates", "Turns", "Unbinds", "Unblocks", "Unlinks", "Unlocks", "Unmaps",
    "Unpacks", "Unplugs", "Unregisters", "Unsubscribes", "Updates", "Uses", "Validates", "Verifies", "Visits",
    "Waits", "Wakes", "Walks", "Warns", "Wastes", "Watches", "Wipes", "Withdraws", "Wraps", "Writes", "Yields",
    "Zeroes", "Zeros",
];
