"""Finance: suppliers, orders, receipts, the register of invoices, the ledger and payment proposals."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MASTER_DATA = """
CREATE SCHEMA finance;

CREATE TABLE finance.cost_centres (
    code   text PRIMARY KEY,
    name   text NOT NULL,
    active boolean NOT NULL DEFAULT true
);

CREATE TABLE finance.accounts (
    code text PRIMARY KEY,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('asset', 'liability', 'expense', 'revenue', 'equity'))
);

CREATE TABLE finance.suppliers (
    id             text PRIMARY KEY,
    name           text NOT NULL,
    vat_id         text UNIQUE,
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    payment_days   integer NOT NULL DEFAULT 30 CHECK (payment_days >= 0),
    cost_centre    text REFERENCES finance.cost_centres,
    order_required boolean NOT NULL DEFAULT true,
    blocked        boolean NOT NULL DEFAULT false
);

CREATE TABLE finance.supplier_accounts (
    supplier_id text NOT NULL REFERENCES finance.suppliers,
    iban        text NOT NULL,
    since       date NOT NULL,
    PRIMARY KEY (supplier_id, iban)
);
"""

ORDERS = """
CREATE TABLE finance.purchase_orders (
    number           text PRIMARY KEY,
    supplier_id      text NOT NULL REFERENCES finance.suppliers,
    ordered_on       date NOT NULL,
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    receipt_required boolean NOT NULL DEFAULT true
);

CREATE TABLE finance.purchase_order_lines (
    order_number text NOT NULL REFERENCES finance.purchase_orders,
    line         text NOT NULL,
    item_id      text,
    description  text NOT NULL,
    quantity     numeric(18,4) NOT NULL CHECK (quantity > 0),
    unit_price   numeric(18,4) NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_number, line)
);

CREATE TABLE finance.goods_receipts (
    number       text PRIMARY KEY,
    order_number text NOT NULL REFERENCES finance.purchase_orders,
    received_on  date NOT NULL
);

CREATE TABLE finance.goods_receipt_lines (
    receipt_number text NOT NULL REFERENCES finance.goods_receipts,
    order_number   text NOT NULL,
    order_line     text NOT NULL,
    quantity       numeric(18,4) NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (receipt_number, order_line),
    FOREIGN KEY (order_number, order_line) REFERENCES finance.purchase_order_lines
);
"""

LEDGER = """
CREATE TABLE finance.postings (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reverses   bigint UNIQUE REFERENCES finance.postings,
    dated      date NOT NULL,
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    text       text NOT NULL,
    key        text NOT NULL,
    posted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE finance.entries (
    posting_id  bigint NOT NULL REFERENCES finance.postings,
    line        integer NOT NULL CHECK (line > 0),
    account     text NOT NULL REFERENCES finance.accounts,
    cost_centre text REFERENCES finance.cost_centres,
    debit       numeric(18,2) NOT NULL DEFAULT 0 CHECK (debit >= 0),
    credit      numeric(18,2) NOT NULL DEFAULT 0 CHECK (credit >= 0),
    PRIMARY KEY (posting_id, line),
    CHECK ((debit = 0) <> (credit = 0))
);

CREATE FUNCTION finance.check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    posting bigint := CASE TG_TABLE_NAME WHEN 'postings' THEN (to_jsonb(NEW)->>'id')::bigint
                                         ELSE (to_jsonb(NEW)->>'posting_id')::bigint END;
    lines   bigint;
    balance numeric;
BEGIN
    SELECT count(*), coalesce(sum(debit - credit), 0) INTO lines, balance
      FROM finance.entries WHERE posting_id = posting;
    IF lines < 2 OR balance <> 0 THEN
        RAISE EXCEPTION 'posting % does not balance: % entries, debit minus credit is %', posting, lines, balance
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balances';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER posting_balances AFTER INSERT ON finance.postings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION finance.check_balance();
CREATE CONSTRAINT TRIGGER posting_balances AFTER INSERT ON finance.entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION finance.check_balance();

CREATE FUNCTION finance.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is only ever added to: reverse the posting instead'
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON finance.postings
    FOR EACH STATEMENT EXECUTE FUNCTION finance.refuse_change();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON finance.entries
    FOR EACH STATEMENT EXECUTE FUNCTION finance.refuse_change();

INSERT INTO finance.accounts (code, name, kind) VALUES
    ('1400', 'Input VAT', 'asset'),
    ('3300', 'Trade payables', 'liability'),
    ('5400', 'Goods and materials', 'expense'),
    ('6300', 'Other operating expenses', 'expense');
"""

INVOICES = """
CREATE TABLE finance.invoices (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier_id   text NOT NULL REFERENCES finance.suppliers,
    number        text NOT NULL,
    number_key    text NOT NULL,
    number_core   text NOT NULL GENERATED ALWAYS AS
                  (ltrim(regexp_replace(number_key, '[^A-Z0-9]', '', 'g'), '0')) STORED,
    issue_date    date NOT NULL,
    gross         numeric(18,2) NOT NULL,
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    sha256        text NOT NULL,
    source        text NOT NULL,
    received_by   text NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    posting_id    bigint UNIQUE REFERENCES finance.postings,
    posting_key   text UNIQUE,
    CHECK ((posting_id IS NULL) = (posting_key IS NULL)),
    CONSTRAINT invoice_once UNIQUE (supplier_id, number_key)
);
COMMENT ON COLUMN finance.invoices.number_key IS
    'The number as it identifies the invoice: case and spaces do not count.';
COMMENT ON COLUMN finance.invoices.number_core IS
    'Letters and digits only: equal for numbers that differ in punctuation.';
COMMENT ON COLUMN finance.invoices.received_by IS 'Run and position of the item that received it last.';
CREATE INDEX invoices_sha256 ON finance.invoices (sha256);
CREATE INDEX invoices_core ON finance.invoices (supplier_id, number_core);
CREATE INDEX invoices_amount ON finance.invoices (supplier_id, gross, issue_date);

CREATE FUNCTION finance.check_posted_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.posting_id IS NULL AND EXISTS (SELECT FROM finance.postings WHERE reverses = OLD.posting_id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'invoice % of % is posted as %', OLD.number, OLD.supplier_id, OLD.posting_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'posted_once';
END $$;

CREATE TRIGGER posted_once BEFORE UPDATE OF posting_id ON finance.invoices
    FOR EACH ROW WHEN (OLD.posting_id IS NOT NULL AND NEW.posting_id IS DISTINCT FROM OLD.posting_id)
    EXECUTE FUNCTION finance.check_posted_once();

CREATE TABLE finance.order_billings (
    posting_id   bigint NOT NULL REFERENCES finance.postings,
    invoice_line text NOT NULL,
    order_number text NOT NULL,
    order_line   text NOT NULL,
    quantity     numeric(18,4) NOT NULL,
    PRIMARY KEY (posting_id, invoice_line),
    FOREIGN KEY (order_number, order_line) REFERENCES finance.purchase_order_lines
);
CREATE INDEX order_billings_order ON finance.order_billings (order_number);

CREATE TABLE finance.coding_history (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier_id text NOT NULL REFERENCES finance.suppliers,
    item_key    text NOT NULL,
    cost_centre text NOT NULL REFERENCES finance.cost_centres,
    account     text REFERENCES finance.accounts,
    coded_on    date NOT NULL,
    posting_id  bigint REFERENCES finance.postings
);
CREATE INDEX coding_history_supplier ON finance.coding_history (supplier_id, coded_on);

CREATE TABLE finance.payment_proposals (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text NOT NULL UNIQUE,
    message_id text NOT NULL UNIQUE,
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total      numeric(18,2) NOT NULL CHECK (total > 0),
    result     jsonb NOT NULL,
    document   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE finance.payments (
    posting_id    bigint PRIMARY KEY REFERENCES finance.postings,
    proposal_id   bigint NOT NULL REFERENCES finance.payment_proposals,
    end_to_end_id text NOT NULL UNIQUE,
    amount        numeric(18,2) NOT NULL CHECK (amount > 0)
);
"""


def upgrade() -> None:
    """Create the schema `finance`."""
    for part in (MASTER_DATA, ORDERS, LEDGER, INVOICES):
        op.execute(part)


def downgrade() -> None:
    """Drop the schema `finance` and everything in it."""
    op.execute("DROP SCHEMA finance CASCADE")
