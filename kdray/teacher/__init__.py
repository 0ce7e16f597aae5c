"""The teacher's signals: made in shards, stored by pair_id, read by students."""
