-- The other side of the benchmark: place_hold and capture as one stored function each, written for PostgreSQL as well as
-- we can. They write the rows that billing/ledger.py writes, into the same tables, under the same triggers and keys,
-- and the same digests (billing/chain.py). They know one case: a hold on lots that neither expire nor are frozen.

CREATE FUNCTION bench_word(word text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN int4send(octet_length(word)) || convert_to(word, 'UTF8');

CREATE FUNCTION bench_microseconds(moment timestamptz) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN int8send((extract(epoch FROM moment) * 1000000)::bigint);

CREATE FUNCTION bench_move(lot uuid, remaining_delta bigint, held_delta bigint) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN uuid_send(lot) || int8send(remaining_delta) || int8send(held_delta);

-- The digest of a line that moves `move_count` lots, frozen and debt 0, without texts. See billing/chain.py.
CREATE FUNCTION bench_digest(
  previous bytea, account uuid, id uuid, sequence bigint, kind text, amount bigint, balance_delta bigint,
  held_delta bigint, balance_after bigint, held_after bigint, move_count int, moves bytea, hold uuid, member int,
  actor text, moment timestamptz
) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(
  previous || '\x01'::bytea || uuid_send(account) || uuid_send(id) || int8send(sequence) || bench_word(kind)
  || int8send(amount) || int8send(balance_delta) || int8send(held_delta) || int8send(0) || int8send(0)
  || int8send(balance_after) || int8send(held_after) || int8send(0) || int8send(0)
  || int4send(move_count) || moves
  || CASE WHEN hold IS NULL THEN '\x00'::bytea ELSE '\x01'::bytea || uuid_send(hold) END
  || '\x00'::bytea
  || CASE WHEN member IS NULL THEN '\x00'::bytea ELSE '\x01'::bytea || int8send(member::bigint) END
  || bench_word(actor) || bench_microseconds(moment) || bench_microseconds(moment) || '\x00'::bytea);

CREATE FUNCTION bench_account(number int) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lpad(to_hex(number), 32, '0')::uuid;

CREATE FUNCTION bench_place_hold(of_account uuid, member int, wanted bigint) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  purse billing_account;
  lot billing_lot;
  open_holds bigint;
  hold uuid := bench_new_id();
  line uuid := bench_new_id();
  next_line bigint;
  moment timestamptz;
  missing bigint := wanted;
  part bigint;
  capped bigint := 0;
  lots uuid[] := '{}';
  parts bigint[] := '{}';
  moves bytea := '';
  new_digest bytea;
BEGIN
  SELECT * INTO purse FROM billing_account WHERE id = of_account FOR NO KEY UPDATE;
  moment := greatest(holdfast_now(), purse.moved_at);
  next_line := purse.entry_count + 1;
  SELECT count(*) INTO open_holds FROM billing_hold WHERE account_id = of_account AND ended_at IS NULL;
  IF purse.is_frozen OR purse.debt > 0 OR open_holds >= 50 OR wanted > purse.balance - purse.held - purse.frozen
     OR EXISTS (SELECT FROM billing_spendlimit WHERE account_id = of_account) THEN
    RAISE EXCEPTION 'refused';
  END IF;

  FOR lot IN SELECT * FROM billing_lot WHERE account_id = of_account AND remaining > 0 AND remaining > held
      ORDER BY priority, spendable_until NULLS LAST, NOT is_promotional, granted_at, id LOOP
    IF lot.is_frozen OR lot.spendable_until <= moment THEN RAISE EXCEPTION 'not in this benchmark'; END IF;
    part := least(missing, lot.remaining - lot.held);
    UPDATE billing_lot SET held = held + part, moved_by = next_line WHERE account_id = of_account AND id = lot.id;
    lots := lots || lot.id;
    parts := parts || part;
    moves := moves || bench_move(lot.id, 0, part);
    IF lot.is_promotional OR lot.source = 'plan' THEN capped := capped + part; END IF;
    missing := missing - part;
    EXIT WHEN missing = 0;
  END LOOP;

  INSERT INTO billing_hold (id, account_id, user_id, owner, reference, label, link, amount, captured, state,
      is_envelope, receipt_lots, receipt_amounts, placed_at, placed_on, expires_at, moved_by)
    VALUES (hold, of_account, member, 'bench', 'bench', '', '', wanted, 0, 'open',
      false, lots, parts, moment, (moment AT TIME ZONE 'UTC')::date, moment + interval '1 hour', next_line);
  INSERT INTO billing_spendday AS it (id, account_id, user_id, day, spent, spent_capped)
    VALUES (bench_new_id(), of_account, member, (moment AT TIME ZONE 'UTC')::date, wanted, capped)
    ON CONFLICT (account_id, day, user_id) DO UPDATE
      SET spent = it.spent + excluded.spent, spent_capped = it.spent_capped + excluded.spent_capped;
  new_digest := bench_digest(purse.digest, of_account, line, next_line, 'hold', wanted, 0, wanted, purse.balance,
    purse.held + wanted, cardinality(lots), moves, hold, member, 'bench', moment);
  UPDATE billing_account SET held = held + wanted, entry_count = next_line, digest = new_digest, moved_at = moment
    WHERE id = of_account;
  INSERT INTO billing_entry (id, account_id, sequence, kind, amount, balance_delta, held_delta, frozen_delta,
      debt_delta, balance_after, held_after, frozen_after, debt_after, lots, remaining_deltas, held_deltas, hold_id,
      user_id, actor, occurred_at, created_at, digest)
    VALUES (line, of_account, next_line, 'hold', wanted, 0, wanted, 0,
      0, purse.balance, purse.held + wanted, 0, 0, lots, array_fill(0::bigint, ARRAY[cardinality(lots)]), parts, hold,
      member, 'bench', moment, moment, new_digest);
  RETURN hold;
END $$;

CREATE FUNCTION bench_capture(of_account uuid, of_hold uuid, price bigint) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  purse billing_account;
  it billing_hold;
  lot billing_lot;
  line uuid := bench_new_id();
  next_line bigint;
  moment timestamptz;
  missing bigint := price;
  part bigint;
  paid bigint;
  capped bigint := 0;
  back bigint;
  remaining_deltas bigint[] := '{}';
  held_deltas bigint[] := '{}';
  moves bytea := '';
  new_digest bytea;
BEGIN
  SELECT * INTO purse FROM billing_account WHERE id = of_account FOR NO KEY UPDATE;
  moment := greatest(holdfast_now(), purse.moved_at);
  next_line := purse.entry_count + 1;
  SELECT * INTO it FROM billing_hold WHERE account_id = of_account AND id = of_hold;
  IF it.state <> 'open' OR price > it.amount - it.captured OR it.is_envelope OR purse.debt > 0 THEN
    RAISE EXCEPTION 'refused';
  END IF;

  FOR at IN 1 .. cardinality(it.receipt_lots) LOOP
    SELECT * INTO lot FROM billing_lot WHERE account_id = of_account AND id = it.receipt_lots[at];
    IF lot.is_frozen OR lot.spendable_until <= moment THEN RAISE EXCEPTION 'not in this benchmark'; END IF;
    part := it.receipt_amounts[at];
    paid := least(missing, part);
    UPDATE billing_lot SET remaining = remaining - paid, spent = spent + paid, held = held - part, moved_by = next_line
      WHERE account_id = of_account AND id = lot.id;
    remaining_deltas := remaining_deltas || -paid;
    held_deltas := held_deltas || -part;
    moves := moves || bench_move(lot.id, -paid, -part);
    IF lot.is_promotional OR lot.source = 'plan' THEN capped := capped + part - paid; END IF;
    missing := missing - paid;
  END LOOP;

  back := it.amount - price;
  UPDATE billing_hold SET state = 'captured', captured = price, ended_at = moment, moved_by = next_line
    WHERE account_id = of_account AND id = of_hold;
  IF back > 0 THEN
    UPDATE billing_spendday SET spent = spent - back, spent_capped = spent_capped - capped
      WHERE account_id = of_account AND day = it.placed_on AND user_id IS NOT DISTINCT FROM it.user_id;
  END IF;
  new_digest := bench_digest(purse.digest, of_account, line, next_line, 'capture', price, -price, -it.amount,
    purse.balance - price, purse.held - it.amount, cardinality(it.receipt_lots), moves, of_hold, it.user_id, 'bench',
    moment);
  UPDATE billing_account SET balance = balance - price, held = held - it.amount, entry_count = next_line,
      digest = new_digest, moved_at = moment
    WHERE id = of_account;
  INSERT INTO billing_entry (id, account_id, sequence, kind, amount, balance_delta, held_delta, frozen_delta,
      debt_delta, balance_after, held_after, frozen_after, debt_after, lots, remaining_deltas, held_deltas, hold_id,
      user_id, actor, occurred_at, created_at, digest)
    VALUES (line, of_account, next_line, 'capture', price, -price, -it.amount, 0,
      0, purse.balance - price, purse.held - it.amount, 0, 0, it.receipt_lots, remaining_deltas, held_deltas, of_hold,
      it.user_id, 'bench', moment, moment, new_digest);
  RETURN line;
END $$;
