"""The words invoices use for their fields, in the languages of Europe."""

from __future__ import annotations

_WORDS: dict[str, str] = {
    "number": """
        invoice number; invoice no; invoice nr; invoice num; invoice id; invoice #; invoice ref; inv no; inv
        #; bill number; bill no; tax invoice no; tax invoice number; credit note number; credit note no;
        credit memo number; rechnungsnummer; rechnungsnr; rechnungs nr; rechnung nr; rechnung nummer;
        rechnung no; rech nr; re nr; belegnummer; beleg nr; gutschriftsnummer; gutschrift nr; faktura nr;
        fakturanummer; fakturanr; facture no; facture numero; numero de facture; numero de la facture;
        numero facture; no de facture; no facture; no de la facture; avoir no; factuurnummer; factuurnr;
        factuur nr; factuur nummer; creditnotanummer; numero de factura; numero factura; no de factura; no
        factura; factura no; factura numero; num factura; numero fattura; numero della fattura; fattura n;
        fattura no; fattura nr; fattura numero; n fattura; nr fattura; numero da fatura; fatura no; fatura
        n; no da fatura; nr faktury; numer faktury; faktura vat nr; cislo faktury; faktura c; faktura cislo;
        laskun numero; laskunumero; laskun nro; fakturanumero
    """,
    "bare_number": """
        invoice; rechnung; facture; factuur; factura; fattura; fatura; faktura; lasku
    """,
    "date": """
        invoice date; date of invoice; invoice issue date; issue date; date of issue; date issued; issued
        on; bill date; invoice dated; tax invoice date; rechnungsdatum; rechnung vom; belegdatum;
        ausstellungsdatum; rechnungs datum; date de facture; date de la facture; date facture; date de
        facturation; date d emission; facture du; factuurdatum; factuur datum; datum factuur; fecha de
        factura; fecha factura; fecha de la factura; fecha de emision; fecha emision; data fattura; data
        della fattura; data di emissione; data emissione; data documento; data da fatura; data de emissao;
        data wystawienia; fakturadatum; fakturadato; faktureringsdato; laskun paivays; laskun paivamaara;
        datum vystaveni
    """,
    "bare_date": """
        date; datum; fecha; data; dato; paivays; paivamaara
    """,
    "due_date": """
        due date; payment due; payment due date; due on; due by; date due; pay by; falligkeitsdatum; fallig
        am; fallig bis; zahlbar bis; zahlungsziel; faelligkeitsdatum; date d echeance; echeance; a payer
        avant le; vervaldatum; te betalen voor; uiterste betaaldatum; fecha de vencimiento; vencimiento;
        data scadenza; scadenza; data di scadenza; data de vencimento; vencimento; termin platnosci;
        forfallodatum; forfallsdato; forfaldsdato; erapaiva; datum splatnosti
    """,
    "other_date": """
        order date; delivery date; ship date; shipping date; date of order; date of supply; service date;
        bestelldatum; lieferdatum; leistungsdatum; liefertermin; orderdatum; besteldatum; leverdatum; date
        de commande; date de livraison; fecha de pedido; fecha de entrega; data ordine; data consegna;
        statement date; billing period; print date; druckdatum
    """,
    "order": """
        po number; p o number; po no; p o no; po #; purchase order; purchase order number; purchase order
        no; customer po; your order; your order number; your order no; bestellnummer; ihre bestellung; ihre
        bestellnummer; ihre bestell nr; bestell nr; uw ordernummer; uw bestelnummer; inkoopordernummer;
        inkooporder; votre commande; votre numero de commande; bon de commande no; su pedido; vostro ordine
    """,
    "other_number": """
        order number; order no; order id; order; ordernummer; auftragsnummer; auftrags nr; kundennummer;
        kundennr; kunden nr; customer number; customer no; customer id; customer; account number; account
        no; klantnummer; klant; client; kunde; delivery note; lieferscheinnummer; lieferschein nr; numero de
        client; no client; numero de dossier; numero de commande; no de commande; quote no; reference;
        referenz; referentie; page; seite; pagina; phone; tel; fax; contract no; terms; payment terms;
        zahlungsbedingungen; conditions de paiement
    """,
    "gross": """
        grand total; invoice total; total invoice; total incl vat; total inc vat; total including vat; total
        incl tax; total including tax; total inc tax; total with tax; total with vat; total gross; gross
        total; gross amount; total amount incl vat; total for this invoice; invoice amount; total inc gst;
        total incl gst; gesamtbetrag; rechnungsbetrag; gesamtsumme; gesamtbetrag brutto; endbetrag;
        endsumme; bruttobetrag; gesamt brutto; summe brutto; brutto gesamt; bruttosumme; rechnungssumme;
        rechnungsendbetrag; total ttc; montant ttc; montant total ttc; total general; total toutes taxes
        comprises; totaal incl btw; totaal inclusief btw; totaal inclusief; factuur totaal; factuurtotaal;
        factuurbedrag; totaalbedrag; eindtotaal; total factura; total con iva; total iva incluido; importe
        total; totale fattura; totale documento; importo totale; totale ivato; totale iva inclusa; totale
        complessivo; valor total; total com iva; total da fatura; razem brutto; wartosc brutto; kwota
        brutto; summa inkl moms; totalt inkl moms; total inkl moms; belop inkl mva; verollinen summa; celkem
        s dph; celkova castka
    """,
    "due": """
        amount due; total amount due; total due; balance due; amount payable; total payable; total to pay;
        amount to pay; net payable; please pay; zu zahlen; zahlbetrag; zu zahlender betrag; offener betrag;
        zahlungsbetrag; net a payer; reste a payer; solde a payer; montant a payer; total a payer; te
        betalen; te betalen bedrag; totaal te betalen; openstaand bedrag; total a pagar; importe a pagar;
        totale da pagare; totale dovuto; netto a pagare; do zaplaty; att betala; summa att betala; at
        betale; a betale; maksettava; k uhrade
    """,
    "total": """
        total; totals; total amount; totaal; totale; summe; gesamt; totalt; suma; razem; yhteensa; celkem; i
        alt; sum; montant total; gesamtpreis
    """,
    "net": """
        subtotal; sub total; net total; total net; net amount; net; total excl vat; total excluding vat;
        total ex vat; total exc vat; total excl tax; total excluding tax; total before tax; total without
        tax; total without vat; taxable amount; taxable value; amount excl vat; subtotal excl vat;
        nettobetrag; summe netto; zwischensumme; netto; gesamt netto; nettosumme; netto gesamt; gesamtbetrag
        netto; warenwert netto; rechnungsbetrag netto; total ht; montant ht; total hors taxe; total hors
        taxes; total hors tva; montant total ht; sous total; sous total ht; subtotaal; exclusief btw; excl
        btw; totaal excl btw; totaal exclusief btw; totaal exclusief; subtotaal excl btw; base imponible;
        importe neto; total sin iva; imponibile; totale imponibile; totale netto; base tributavel; total sem
        iva; base de incidencia; razem netto; wartosc netto; kwota netto; summa exkl moms; totalt exkl moms;
        belop eks mva; veroton summa; celkem bez dph; zaklad dane; total tax base
    """,
    "tax": """
        vat; vat amount; total vat; tax; tax amount; total tax; sales tax; gst; hst; value added tax; mwst;
        ust; mehrwertsteuer; umsatzsteuer; zzgl mwst; zzgl ust; mwst betrag; steuerbetrag; steuer;
        enthaltene mwst; tva; total tva; montant tva; dont tva; btw; btw bedrag; totaal btw; waarvan btw;
        iva; total iva; cuota iva; importe iva; totale iva; di cui iva; imposta; valor iva; total do iva;
        kwota vat; moms; herav moms; mva; alv; dph; cst; igst
    """,
    "not_total": """
        total quantity; total qty; total hours; total weight; total items; total discount; total savings;
        total paid; amount paid; paid; total page; carried forward; ubertrag; report; deposit; previous
        balance; anzahlung; bereits bezahlt; acompte; total line; unit price; shipping; discount; tax
        invoice; vat invoice; vat no; vat number; vat id; vat reg no; tax id; tax no; tax number; tax date;
        tax rate; vat rate; mwst satz; ust id; ust idnr; ust id nr; steuernummer; steuer nr; btw nummer; btw
        nr; btw id; tva intracommunautaire; no tva; numero de tva; p iva; partita iva; gst no; gstin; vat
        tin; service tax; net weight; net days; netto gewicht; net 30; net 14; net 60; tage netto; ohne
        mwst; ohne ust; preis ohne mwst; prix unitaire; prix unitaire ht; p u ht; prijs incl btw; prijs excl
        btw
    """,
}

VOCABULARY: dict[str, tuple[str, ...]] = {
    field: tuple(" ".join(label.split()) for label in labels.split(";")) for field, labels in _WORDS.items()
}
"""What each field is called. Accents, case, spaces and most signs do not count."""
