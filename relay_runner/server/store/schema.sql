-- The store of one relay. Every instant is in epoch seconds, every JSON column holds UTF-8 text.

CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sender TEXT NOT NULL,
    address TEXT NOT NULL,
    body TEXT NOT NULL,
    subject TEXT,
    timing TEXT NOT NULL,
    claimable INTEGER NOT NULL,
    reply_to INTEGER,
    reply_required INTEGER NOT NULL,
    payload TEXT NOT NULL,
    attachments TEXT NOT NULL,
    hops INTEGER NOT NULL,
    operator INTEGER NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_sender ON messages (sender, id);
CREATE INDEX IF NOT EXISTS messages_by_parent ON messages (reply_to) WHERE reply_to IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_to_answer ON messages (id) WHERE reply_required;
CREATE INDEX IF NOT EXISTS messages_by_task ON messages (json_extract(payload, '$.taskId'))
    WHERE json_extract(payload, '$.taskId') IS NOT NULL;

CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES messages (id),
    recipient TEXT,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    instance_id TEXT,
    claim_expires_at REAL,
    nonce TEXT,
    evidence TEXT,
    outcome TEXT,
    result TEXT,
    reason TEXT,
    held TEXT,
    not_before REAL,
    read_at REAL,
    updated_at REAL NOT NULL,
    claimable INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    usage TEXT,
    carried TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_by_message ON deliveries (message_id);
CREATE INDEX IF NOT EXISTS deliveries_by_recipient ON deliveries (recipient, state, message_id);
CREATE INDEX IF NOT EXISTS deliveries_by_lease ON deliveries (claim_expires_at) WHERE claim_expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_by_delay ON deliveries (not_before) WHERE not_before IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_by_end ON deliveries (expires_at) WHERE state = 'queued';

-- The bytes stand beside the store, in a file named by the id.
CREATE TABLE IF NOT EXISTS attachments (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attachments_by_age ON attachments (created_at);
CREATE INDEX IF NOT EXISTS attachments_by_owner ON attachments (owner);

CREATE TABLE IF NOT EXISTS attachment_uses (
    attachment_id TEXT NOT NULL REFERENCES attachments (id),
    message_id INTEGER NOT NULL REFERENCES messages (id),
    PRIMARY KEY (attachment_id, message_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attachment_uses_by_message ON attachment_uses (message_id);

CREATE TABLE IF NOT EXISTS reactions (
    message_id INTEGER NOT NULL REFERENCES messages (id),
    sender TEXT NOT NULL,
    emoji TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (message_id, sender, emoji)
) WITHOUT ROWID;

-- The answer that a sender's key had; `kind` is message or command.
CREATE TABLE IF NOT EXISTS keys (
    sender TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (sender, kind, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_by_age ON keys (created_at);

CREATE TABLE IF NOT EXISTS agents (
    id TEXT PRIMARY KEY,
    provider TEXT,
    label TEXT,
    tags TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    broad INTEGER NOT NULL,
    machine TEXT,
    instance_id TEXT,
    runner_id TEXT,
    status TEXT NOT NULL,
    meta TEXT NOT NULL,
    online INTEGER NOT NULL,
    bus_id TEXT,
    bus_closed_at REAL,
    last_seen_at REAL NOT NULL,
    created_at REAL NOT NULL,
    removed_at REAL
) WITHOUT ROWID;

-- Every instance that ever said hello: one that was superseded must not come back.
CREATE TABLE IF NOT EXISTS instances (
    agent_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (agent_id, instance_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS commands (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    target TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    args TEXT NOT NULL,
    timeout_s REAL NOT NULL,
    state TEXT NOT NULL,
    result TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS commands_open ON commands (agent_id) WHERE state IN ('accepted', 'running');

-- `value` is the whole permission as JSON; the other columns are what is looked for.
CREATE TABLE IF NOT EXISTS permissions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL,
    state TEXT NOT NULL,
    value TEXT NOT NULL,
    updated_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS permissions_by_agent ON permissions (agent_id, seq);
CREATE INDEX IF NOT EXISTS permissions_open ON permissions (agent_id) WHERE state <> 'closed';

CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    description TEXT NOT NULL,
    created_by TEXT NOT NULL,
    state TEXT NOT NULL,
    agent_id TEXT,
    metadata TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS tasks_by_age ON tasks (updated_at);

CREATE TABLE IF NOT EXISTS tokens (
    jti TEXT PRIMARY KEY,
    parent TEXT,
    subject TEXT NOT NULL,
    profile_id TEXT NOT NULL,
    scopes TEXT NOT NULL,
    issued_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    revoked_at REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_by_parent ON tokens (parent) WHERE parent IS NOT NULL;

CREATE TABLE IF NOT EXISTS timeline (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (agent_id, id)
);
CREATE INDEX IF NOT EXISTS timeline_by_agent ON timeline (agent_id, seq);

CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    at REAL NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_age ON events (at);
