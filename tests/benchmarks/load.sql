-- `accounts` accounts of one person each, with two lots and ten lines of statement, whose digests are right. A thousand
-- accounts at a time could not be written faster by hand; a million are, with the triggers off for this session only.

CREATE PROCEDURE bench_load(accounts int) LANGUAGE plpgsql AS $$
DECLARE lot_amount constant bigint := 100000000000000;
BEGIN
  SET LOCAL session_replication_role = replica;
  INSERT INTO auth_user (id, username, email, password, first_name, last_name, is_staff, is_superuser, is_active,
      date_joined)
    SELECT n, 'bench' || n, 'bench' || n || '@example.com', '!', '', '', false, false, true, now()
      FROM generate_series(1, accounts) n;
  INSERT INTO billing_lot (id, account_id, source, is_promotional, amount, remaining, held, spent, expired, taken,
      repaid, priority, granted_at, expires_at, spendable_until, is_frozen, moved_by)
    SELECT bench_lot(n, lot), bench_account(n), CASE lot WHEN 1 THEN 'plan' ELSE 'pack' END, false, lot_amount,
           CASE lot WHEN 1 THEN lot_amount - 8 ELSE lot_amount END, 0, CASE lot WHEN 1 THEN 8 ELSE 0 END, 0, 0,
           0, 50, now() - interval '20 days',
           CASE lot WHEN 1 THEN now() + interval '1 year' END, CASE lot WHEN 1 THEN now() + interval '1 year' END,
           false, CASE lot WHEN 1 THEN 10 ELSE 2 END
      FROM generate_series(1, accounts) n, generate_series(1, 2) lot;

  FOR line IN 1 .. 10 LOOP
    INSERT INTO billing_entry (id, account_id, sequence, kind, amount, balance_delta, held_delta, frozen_delta,
        debt_delta, balance_after, held_after, frozen_after, debt_after, lots, remaining_deltas, held_deltas, user_id,
        actor, occurred_at, created_at, digest)
      SELECT new.id, new.account, line, new.kind, abs(new.delta), new.delta, 0, 0,
             0, new.balance, 0, 0, 0, ARRAY[new.lot], ARRAY[new.delta], ARRAY[0::bigint], n,
             'bench', new.moment, new.moment,
             bench_digest(coalesce(before.digest, decode(repeat('00', 32), 'hex')), new.account, new.id, line, new.kind,
               abs(new.delta), new.delta, 0, new.balance, 0, 1, bench_move(new.lot, new.delta, 0), NULL, n, 'bench',
               new.moment)
        FROM generate_series(1, accounts) n
        CROSS JOIN LATERAL (
          SELECT bench_account(n) AS account, bench_line(n, line) AS id,
                 bench_lot(n, CASE line WHEN 2 THEN 2 ELSE 1 END) AS lot,
                 CASE WHEN line <= 2 THEN 'grant' ELSE 'charge' END AS kind,
                 CASE WHEN line <= 2 THEN lot_amount ELSE -1 END AS delta,
                 least(line, 2) * lot_amount - greatest(line - 2, 0) AS balance,
                 now() - (11 - line) * interval '1 day' AS moment) new
        LEFT JOIN billing_entry before ON before.id = bench_line(n, line - 1);
  END LOOP;
  INSERT INTO billing_account (id, name, balance, held, frozen, debt, entry_count, digest, moved_at, is_frozen,
      frozen_reason, created_at)
    SELECT account_id, '', balance_after, 0, 0, 0, 10, digest, created_at, false, '', now()
      FROM billing_entry WHERE sequence = 10;
END $$;

-- Ids that sort as they were made.
CREATE FUNCTION bench_lot(number int, lot int) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(lot), 8, '0') || lpad(to_hex(number), 24, '0'))::uuid;
CREATE FUNCTION bench_line(number int, line int) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(line), 8, '0') || lpad(to_hex(number), 24, '0'))::uuid;
