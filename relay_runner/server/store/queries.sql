-- Every statement of the store, by name. Parameters are positional where a statement is on the hot path.

-- name: get_meta
SELECT value FROM meta WHERE key = ?
-- name: put_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING

-- name: insert_message
INSERT INTO messages (sender, address, body, subject, timing, claimable, reply_to, reply_required, payload, attachments,
    hops, operator, created_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: message
SELECT id, sender, address, body, subject, timing, claimable, reply_to, reply_required, payload, attachments,
    hops, operator, created_at, expires_at
FROM messages WHERE id = ?
-- name: message_ends
SELECT sender, address, CASE json_type(payload, '$.taskId') WHEN 'integer' THEN json_extract(payload, '$.taskId') END
FROM messages WHERE id = ?
-- name: prolong_message
UPDATE messages SET expires_at = :expires_at WHERE id = :id
-- name: prolong_deliveries
UPDATE deliveries SET expires_at = :expires_at WHERE message_id = :id
-- name: replies
SELECT id FROM messages WHERE reply_to = ? ORDER BY id
-- name: reactions
SELECT sender, emoji, created_at FROM reactions WHERE message_id = ? ORDER BY created_at, sender
-- name: insert_reaction
INSERT INTO reactions (message_id, sender, emoji, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
-- name: get_key
SELECT id FROM keys WHERE sender = ? AND kind = ? AND key = ? AND created_at > ?
-- name: put_key
INSERT INTO keys (sender, kind, key, id, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (sender, kind, key) DO UPDATE SET id = excluded.id, created_at = excluded.created_at

-- name: insert_attachment
INSERT INTO attachments (id, name, content_type, size, sha256, owner, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
-- name: attachment
SELECT id, name, content_type, size, sha256, owner, created_at FROM attachments WHERE id = ?
-- name: attachment_messages
SELECT message_id FROM attachment_uses WHERE attachment_id = ? ORDER BY message_id
-- name: attachments_waiting
SELECT count(*) FROM attachments a
WHERE owner = ? AND NOT EXISTS (SELECT 1 FROM attachment_uses u WHERE u.attachment_id = a.id)
-- name: insert_attachment_use
INSERT INTO attachment_uses (message_id, attachment_id) VALUES (?, ?)
-- name: attachments_unused
SELECT id FROM attachments a
WHERE created_at < ? AND NOT EXISTS (SELECT 1 FROM attachment_uses u WHERE u.attachment_id = a.id)
ORDER BY created_at LIMIT ?
-- name: forget_attachments
DELETE FROM attachments WHERE id IN (SELECT value FROM json_each(?))
-- name: forget_attachment_uses
DELETE FROM attachment_uses WHERE message_id IN (SELECT value FROM json_each(?))

-- name: insert_delivery
INSERT INTO deliveries (message_id, recipient, state, attempt, failures, updated_at, claimable, expires_at)
VALUES (?, ?, 'queued', 1, 0, ?, ?, ?)
-- name: deliveries
SELECT id, message_id, recipient, state, attempt, failures, instance_id, claim_expires_at, nonce, evidence, outcome,
    result, reason, held, not_before, read_at, updated_at, usage, carried, claimable, expires_at, EXISTS (
        SELECT 1 FROM agents a
        WHERE a.id = substr(recipient, 7) AND a.instance_id = deliveries.instance_id AND a.bus_id IS NOT NULL
    )
FROM deliveries WHERE message_id = ? ORDER BY id
-- name: deliveries_held
SELECT id, message_id, recipient, state, attempt, failures, instance_id, claim_expires_at, nonce, evidence, outcome,
    result, reason, held, not_before, read_at, updated_at, usage, carried, claimable, expires_at, EXISTS (
        SELECT 1 FROM agents a
        WHERE a.id = substr(recipient, 7) AND a.instance_id = deliveries.instance_id AND a.bus_id IS NOT NULL
    )
FROM deliveries WHERE recipient = ? AND state IN ('claimed', 'submitting', 'submitted', 'seen') ORDER BY message_id
-- name: deliveries_due
SELECT id, message_id, recipient, state, attempt, failures, instance_id, claim_expires_at, nonce, evidence, outcome,
    result, reason, held, not_before, read_at, updated_at, usage, carried, claimable, expires_at, EXISTS (
        SELECT 1 FROM agents a
        WHERE a.id = substr(recipient, 7) AND a.instance_id = deliveries.instance_id AND a.bus_id IS NOT NULL
    )
FROM deliveries WHERE id IN (
    SELECT id FROM deliveries WHERE claim_expires_at IS NOT NULL AND claim_expires_at <= :now
    UNION SELECT id FROM deliveries WHERE not_before IS NOT NULL AND not_before <= :now
    UNION SELECT id FROM deliveries WHERE state = 'queued' AND expires_at <= :now
) ORDER BY id LIMIT :limit
-- name: next_delivery_due
SELECT min(at) FROM (
    SELECT min(claim_expires_at) AS at FROM deliveries WHERE claim_expires_at IS NOT NULL
    UNION ALL SELECT min(not_before) FROM deliveries WHERE not_before IS NOT NULL
    UNION ALL SELECT min(expires_at) FROM deliveries WHERE state = 'queued'
)
-- name: update_delivery
UPDATE deliveries SET recipient = ?, state = ?, attempt = ?, failures = ?, instance_id = ?, claim_expires_at = ?,
    nonce = ?, evidence = ?, outcome = ?, result = ?, reason = ?, held = ?, not_before = ?, read_at = ?, updated_at = ?,
    usage = ?, carried = ?
WHERE id = ?

-- name: move_leases
UPDATE deliveries SET claim_expires_at = min(max(claim_expires_at + :jump, :least), :most)
WHERE claim_expires_at IS NOT NULL
-- name: move_delays
UPDATE deliveries SET not_before = not_before + :jump WHERE not_before IS NOT NULL
-- name: move_signs_of_life
UPDATE agents SET last_seen_at = last_seen_at + :jump, bus_closed_at = bus_closed_at + :jump WHERE online
-- name: move_commands
UPDATE commands SET updated_at = updated_at + :jump WHERE state IN ('accepted', 'running')
-- name: hold_on
UPDATE deliveries SET claim_expires_at = ? WHERE id = ?

-- name: list_received
SELECT message_id FROM (
    SELECT d.message_id FROM deliveries d JOIN messages m ON m.id = d.message_id
    WHERE d.recipient = :recipient AND d.state IN (SELECT value FROM json_each(:states))
        AND (NOT :unread OR d.read_at IS NULL) AND (NOT :open OR d.state <> 'submitted' OR d.evidence IS NOT :unproven)
        AND (:sender IS NULL OR m.sender = :sender)
        AND (:reply_to IS NULL OR m.reply_to = :reply_to) AND d.message_id > :after
    UNION
    SELECT d.message_id FROM deliveries d JOIN messages m ON m.id = d.message_id
    WHERE d.recipient IS NULL AND d.state = 'queued' AND 'queued' IN (SELECT value FROM json_each(:states))
        AND m.address IN (SELECT value FROM json_each(:addresses)) AND m.sender <> :recipient
        AND (:sender IS NULL OR m.sender = :sender)
        AND (:reply_to IS NULL OR m.reply_to = :reply_to) AND d.message_id > :after
) ORDER BY message_id /*order*/ LIMIT :limit
-- name: list_sent
SELECT m.id FROM messages m
WHERE m.sender = :sender AND m.id > :after AND (:reply_to IS NULL OR m.reply_to = :reply_to)
    AND EXISTS (
        SELECT 1 FROM deliveries d
        WHERE d.message_id = m.id AND d.state IN (SELECT value FROM json_each(:states))
            AND (NOT :unread OR d.read_at IS NULL) AND (NOT :open OR d.state <> 'submitted' OR d.evidence IS NOT :unproven)
    )
ORDER BY m.id /*order*/ LIMIT :limit
-- name: list_all
SELECT m.id FROM messages m
WHERE m.id > :after AND (:reply_to IS NULL OR m.reply_to = :reply_to)
    AND EXISTS (
        SELECT 1 FROM deliveries d
        WHERE d.message_id = m.id AND d.state IN (SELECT value FROM json_each(:states))
            AND (NOT :unread OR d.read_at IS NULL) AND (NOT :open OR d.state <> 'submitted' OR d.evidence IS NOT :unproven)
    )
ORDER BY m.id /*order*/ LIMIT :limit

-- name: obligations
SELECT m.id FROM messages m JOIN deliveries d ON d.message_id = m.id
WHERE m.reply_required AND d.recipient = :agent AND d.state IN (SELECT value FROM json_each(:owing))
    AND NOT EXISTS (SELECT 1 FROM messages r WHERE r.reply_to = m.id AND r.sender = :agent)
ORDER BY m.id LIMIT :limit
-- name: obligation_counts
SELECT d.recipient, count(*) FROM messages m CROSS JOIN deliveries d ON d.message_id = m.id
WHERE m.reply_required AND d.state IN (SELECT value FROM json_each(:owing)) AND d.recipient LIKE 'agent:%'
    AND NOT EXISTS (SELECT 1 FROM messages r WHERE r.reply_to = m.id AND r.sender = d.recipient)
GROUP BY d.recipient
-- name: agent_known
SELECT removed_at IS NULL FROM agents WHERE id = ?
-- name: agent_instance
SELECT instance_id, last_seen_at, online FROM agents WHERE id = ? AND removed_at IS NULL
-- name: agent
SELECT id, provider, label, tags, capabilities, broad, machine, instance_id, runner_id, status, meta, online, bus_id,
    last_seen_at, created_at, (SELECT count(*) FROM deliveries WHERE recipient = 'agent:' || agents.id AND state = 'queued'),
    (SELECT json_group_array(json_object('id', t.id, 'kind', t.kind, 'at', t.at, 'data', t.data)) FROM (
        SELECT id, kind, at, data FROM timeline WHERE agent_id = agents.id ORDER BY seq) t)
FROM agents WHERE id = ? AND removed_at IS NULL
-- name: agents
SELECT id, provider, label, tags, capabilities, broad, machine, instance_id, runner_id, status, meta, online, bus_id,
    last_seen_at, created_at, (SELECT count(*) FROM deliveries WHERE recipient = 'agent:' || agents.id AND state = 'queued'),
    (SELECT json_group_array(json_object('id', t.id, 'kind', t.kind, 'at', t.at, 'data', t.data)) FROM (
        SELECT id, kind, at, data FROM timeline WHERE agent_id = agents.id ORDER BY seq) t)
FROM agents WHERE removed_at IS NULL ORDER BY id
-- name: agent_addresses
SELECT id, label, tags, capabilities, broad FROM agents WHERE removed_at IS NULL
-- name: agent_ids
SELECT id FROM agents WHERE removed_at IS NULL ORDER BY id
-- name: agent_by_target
SELECT id FROM agents WHERE (id = :target OR runner_id = :target) AND removed_at IS NULL ORDER BY id <> :target LIMIT 1
-- name: put_agent
INSERT INTO agents (id, provider, label, tags, capabilities, broad, machine, instance_id, runner_id, status, meta, online,
    bus_id, bus_closed_at, last_seen_at, created_at, removed_at)
VALUES (:id, :provider, :label, :tags, :capabilities, :broad, :machine, :instance_id, :runner_id, :status, :meta, 1,
    :bus_id, NULL, :now, :now, NULL)
ON CONFLICT (id) DO UPDATE SET provider = excluded.provider, label = excluded.label, tags = excluded.tags,
    capabilities = excluded.capabilities, broad = excluded.broad, machine = excluded.machine,
    instance_id = excluded.instance_id, runner_id = excluded.runner_id, status = excluded.status, meta = excluded.meta,
    online = 1, bus_id = excluded.bus_id, bus_closed_at = NULL, last_seen_at = excluded.last_seen_at, removed_at = NULL
-- name: seen_instance
SELECT 1 FROM instances WHERE agent_id = ? AND instance_id = ?
-- name: put_instance
INSERT INTO instances (agent_id, instance_id, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
-- name: put_status
UPDATE agents SET status = ?, last_seen_at = ?, online = 1 WHERE id = ?
-- name: put_timeline
INSERT INTO timeline (agent_id, id, kind, at, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
-- name: forget_timeline
DELETE FROM timeline WHERE agent_id = :agent_id AND seq <= (
    SELECT seq FROM timeline WHERE agent_id = :agent_id ORDER BY seq DESC LIMIT 1 OFFSET :kept
)
-- name: touch_agent
UPDATE agents SET last_seen_at = ?, online = 1 WHERE id = ?
-- name: put_agent_meta
UPDATE agents SET meta = ? WHERE id = ?
-- name: close_bus
UPDATE agents SET bus_id = NULL, bus_closed_at = ? WHERE id = ? AND bus_id = ?
-- name: forget_buses
UPDATE agents SET bus_id = NULL, bus_closed_at = NULL, last_seen_at = CASE WHEN online THEN ? ELSE last_seen_at END
-- name: remove_agent
UPDATE agents SET removed_at = ?, online = 0, bus_id = NULL WHERE id = ? AND removed_at IS NULL
-- name: agents_silent
SELECT id FROM agents WHERE online AND removed_at IS NULL
    AND (last_seen_at <= :silent_since OR (bus_closed_at IS NOT NULL AND bus_closed_at <= :closed_since))
-- name: agent_offline
UPDATE agents SET online = 0, bus_closed_at = NULL WHERE id = ?
-- name: next_agent_due
SELECT min(min(last_seen_at + :offline_after, coalesce(bus_closed_at + :grace, last_seen_at + :offline_after)))
FROM agents WHERE online AND removed_at IS NULL

-- name: insert_command
INSERT INTO commands (id, type, target, agent_id, sender, args, timeout_s, state, result, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, 'accepted', '{}', ?, ?)
-- name: command
SELECT id, type, target, sender, created_at, args, timeout_s, state, result, updated_at, agent_id
FROM commands WHERE id = ?
-- name: commands_open
SELECT id, type, target, sender, created_at, args, timeout_s, state, result, updated_at, agent_id
FROM commands WHERE agent_id = ? AND state IN ('accepted', 'running') ORDER BY seq
-- name: commands_of
SELECT id, type, target, sender, created_at, args, timeout_s, state, result, updated_at, agent_id
FROM (SELECT * FROM commands WHERE agent_id = ? ORDER BY seq DESC LIMIT 100) ORDER BY seq
-- name: commands_due
SELECT id, type, target, sender, created_at, args, timeout_s, state, result, updated_at, agent_id
FROM commands
WHERE (state = 'accepted' AND updated_at + timeout_s <= :now)
    OR (state = 'running' AND updated_at + timeout_s + :slack <= :now)
-- name: next_command_due
SELECT min(CASE state WHEN 'accepted' THEN updated_at + timeout_s ELSE updated_at + timeout_s + ? END)
FROM commands WHERE state IN ('accepted', 'running')
-- name: update_command
UPDATE commands SET state = ?, result = ?, updated_at = ? WHERE id = ?

-- name: put_permission
INSERT INTO permissions (id, agent_id, state, value, updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, value = excluded.value, updated_at = excluded.updated_at
-- name: permission
SELECT value, id, agent_id, state, updated_at FROM permissions WHERE id = ?
-- name: permissions
SELECT value, id, agent_id, state, updated_at FROM (
    SELECT seq, value, id, agent_id, state, updated_at FROM permissions
    WHERE (:agent IS NULL OR agent_id = :agent) AND (NOT :open OR state <> 'closed')
    ORDER BY seq DESC LIMIT :limit
) ORDER BY seq
-- name: permissions_open
SELECT value, id, agent_id, state, updated_at FROM permissions WHERE agent_id = ? AND state <> 'closed' ORDER BY seq
-- name: permission_ids
SELECT id FROM permissions ORDER BY seq DESC LIMIT 200

-- name: insert_task
INSERT INTO tasks (subject, description, created_by, state, metadata, created_at, updated_at)
VALUES (?, ?, ?, 'open', ?, ?, ?)
-- name: task
SELECT id, subject, created_by, created_at, description, state, agent_id, metadata, updated_at FROM tasks WHERE id = ?
-- name: tasks
-- JSON's `true`, `5.0` and `"5"` are numbers to SQLite, and no tasks to us: hence `json_type`.
SELECT id, subject, created_by, created_at, description, state, agent_id, metadata, updated_at FROM tasks
WHERE id < :before AND (:agent_id IS NULL OR agent_id = :agent_id) AND (:created_by IS NULL OR created_by = :created_by)
    AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
    AND (:everything OR created_by IN (SELECT value FROM json_each(:own))
        OR 'agent:' || agent_id IN (SELECT value FROM json_each(:own))
        OR id IN (
            SELECT json_extract(m.payload, '$.taskId') FROM messages m CROSS JOIN deliveries d ON d.message_id = m.id
            WHERE json_extract(m.payload, '$.taskId') IS NOT NULL AND json_type(m.payload, '$.taskId') = 'integer'
                AND d.recipient IN (SELECT value FROM json_each(:own))
        ))
ORDER BY id DESC LIMIT :limit
-- name: task_brought
SELECT 1 FROM messages m JOIN deliveries d ON d.message_id = m.id
WHERE json_extract(m.payload, '$.taskId') = :task AND json_type(m.payload, '$.taskId') = 'integer'
    AND d.recipient IN (SELECT value FROM json_each(:own)) LIMIT 1
-- name: update_task
UPDATE tasks SET state = ?, agent_id = ?, metadata = ?, updated_at = ? WHERE id = ?

-- name: insert_token
INSERT INTO tokens (jti, parent, subject, profile_id, scopes, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
-- name: token_revoked
SELECT revoked_at IS NOT NULL FROM tokens WHERE jti = ?
-- name: tokens
SELECT jti, parent, subject, profile_id, scopes, issued_at, expires_at, revoked_at
FROM tokens WHERE expires_at >= ? ORDER BY issued_at DESC, jti LIMIT ?
-- name: token_heirs
WITH RECURSIVE heirs (jti) AS (
    SELECT jti FROM tokens WHERE jti = ?
    UNION SELECT tokens.jti FROM tokens JOIN heirs ON tokens.parent = heirs.jti
) SELECT jti FROM heirs
-- name: revoke_token
UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE jti = ?
-- name: forget_tokens
-- One that ended stays while a successor is good: whoever revokes it means that one too.
DELETE FROM tokens WHERE expires_at < :before AND jti NOT IN (
    WITH RECURSIVE kept (jti, parent) AS (
        SELECT jti, parent FROM tokens WHERE expires_at >= :before
        UNION SELECT tokens.jti, tokens.parent FROM tokens JOIN kept ON tokens.jti = kept.parent
    ) SELECT jti FROM kept
)

-- name: insert_event
INSERT INTO events (seq, type, at, data) VALUES (?, ?, ?, ?)
-- name: last_event
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)
-- name: events_after
SELECT seq, type, at, data FROM events WHERE seq > ? ORDER BY seq LIMIT ?
-- name: forget_events
DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ? ORDER BY at LIMIT ?)
-- name: messages_over
SELECT m.id FROM messages m
WHERE m.id IN (SELECT id FROM messages ORDER BY id LIMIT :looked_at)
    AND NOT EXISTS (
        SELECT 1 FROM deliveries d
        WHERE d.message_id = m.id AND (d.updated_at >= :before OR d.read_at >= :before OR NOT (
            d.state IN (SELECT value FROM json_each(:terminal))
            OR (d.state = 'submitted' AND d.evidence IS :unproven)
            OR (d.recipient LIKE 'person:%' AND d.read_at IS NOT NULL)
        ))
    )
    AND m.created_at < :before
ORDER BY m.id LIMIT :limit
-- name: forget_deliveries
DELETE FROM deliveries WHERE message_id IN (SELECT value FROM json_each(?))
-- name: forget_reactions
DELETE FROM reactions WHERE message_id IN (SELECT value FROM json_each(?))
-- name: forget_messages
DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))
-- name: forget_instances
DELETE FROM instances WHERE (agent_id, instance_id) IN (
    SELECT i.agent_id, i.instance_id FROM instances i LEFT JOIN agents a ON a.id = i.agent_id
    WHERE a.instance_id IS NOT i.instance_id AND EXISTS (
        SELECT 1 FROM instances n
        WHERE n.agent_id = i.agent_id AND n.created_at > i.created_at AND n.created_at < :before
    ) LIMIT :limit
)
-- name: agents_over
SELECT id FROM agents a
WHERE removed_at < :before AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.recipient = 'agent:' || a.id) LIMIT :limit
-- name: forget_agents
DELETE FROM agents WHERE id IN (SELECT value FROM json_each(?))
-- name: forget_instances_of
DELETE FROM instances WHERE agent_id IN (SELECT value FROM json_each(?))
-- name: forget_timeline_of
DELETE FROM timeline WHERE agent_id IN (SELECT value FROM json_each(?))
-- name: forget_commands
DELETE FROM commands WHERE seq IN (
    SELECT seq FROM commands WHERE state NOT IN ('accepted', 'running') AND updated_at < ? ORDER BY seq LIMIT ?
)
-- name: forget_permissions
DELETE FROM permissions WHERE seq IN (
    SELECT seq FROM permissions
    WHERE (state = 'closed' AND updated_at < :closed) OR updated_at < :stale ORDER BY seq LIMIT :limit
)
-- name: forget_tasks
DELETE FROM tasks WHERE id IN (
    SELECT id FROM tasks WHERE updated_at < :before AND id NOT IN (
        SELECT json_extract(payload, '$.taskId') FROM messages WHERE json_extract(payload, '$.taskId') IS NOT NULL
    ) ORDER BY updated_at LIMIT :limit
)
-- name: forget_keys
DELETE FROM keys WHERE created_at < ?

-- name: counts
SELECT (SELECT count(*) FROM agents WHERE removed_at IS NULL),
    (SELECT count(*) FROM agents WHERE removed_at IS NULL AND bus_id IS NOT NULL),
    (SELECT count(*) FROM deliveries WHERE state = 'queued')
