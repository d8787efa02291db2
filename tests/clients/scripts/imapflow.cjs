// A person's day with ImapFlow: node imapflow.cjs STEP, the account in the environment; prints JSON.
'use strict';
const fs = require('fs');
const { ImapFlow } = require('imapflow');

const { PORT, MAIL_USER, PASSWORD, CA } = process.env;

function client(more = {}) {
    return new ImapFlow({
        host: 'localhost', port: Number(PORT), secure: true, auth: { user: MAIL_USER, pass: PASSWORD },
        tls: { ca: fs.readFileSync(CA) }, logger: false, qresync: true, ...more,
    });
}

const draft = 'From: me@example.org\r\nSubject: draft\r\n\r\nnot yet\r\n';

async function read(flow) {
    const told = {};
    const folders = await flow.list({ statusQuery: { messages: true, unseen: true } });
    told.folders = Object.fromEntries(folders.map(f => [f.path, f.specialUse || '']));
    told.inbox = folders.find(f => f.path === 'INBOX').status.messages;
    const lock = await flow.getMailboxLock('INBOX');
    try {
        const query = { uid: true, flags: true, envelope: true, bodyStructure: true, size: true, threadId: true };
        const all = await flow.fetchAll('1:*', query);
        told.subjects = all.map(m => m.envelope.subject);
        told.ids = new Set(all.map(m => m.emailId)).size;
        told.parts = all[0].bodyStructure.childNodes.map(part => part.type);
        const { content } = await flow.download(all[0].uid, '2', { uid: true });
        const pieces = [];
        for await (const piece of content) pieces.push(piece);
        told.attachment = Buffer.concat(pieces).toString();
        told.bySubject = await flow.search({ subject: 'ÜBER' }, { uid: true });
        told.byBody = await flow.search({ body: 'needle' }, { uid: true });
        await flow.messageFlagsAdd(String(all[1].uid), ['\\Seen', '$Work'], { uid: true });
        told.unseen = (await flow.search({ seen: false })).length;
        const moved = await flow.messageMove(String(all[2].uid), 'Archive', { uid: true });
        told.moved = [...moved.uidMap.keys()].length;
        await flow.messageDelete(String(all[3].uid), { uid: true });
        told.left = (await flow.search({ all: true })).length; // VANISHED does not make mailbox.exists less
    } finally {
        lock.release();
    }
    return told;
}

async function write(flow) {
    const told = {};
    await flow.mailboxCreate(['Projects', 'Straße']);
    await flow.mailboxRename('Projects/Straße', 'Projects/Gasse');
    await flow.mailboxSubscribe('Projects/Gasse');
    told.appended = Boolean((await flow.append('Drafts', draft, ['\\Draft', '\\Seen'])).uid);
    const lock = await flow.getMailboxLock('Drafts');
    try {
        await flow.messageCopy('1', 'Projects/Gasse');
        await flow.messageDelete('1:*');
        told.drafts = (await flow.search({ all: true })).length;
    } finally {
        lock.release();
    }
    told.status = (await flow.status('Projects/Gasse', { messages: true })).messages;
    await flow.mailboxDelete('Projects/Gasse');
    told.gone = !(await flow.list()).some(f => f.path === 'Projects/Gasse');
    return told;
}

async function wait(flow) {
    await flow.mailboxOpen('INBOX');
    const heard = new Promise(resolve => flow.once('exists', resolve));
    const idling = flow.idle();
    const other = client();
    await other.connect();
    await other.append('INBOX', draft.replace('draft', 'news'));
    const { count, prevCount } = await heard;
    await other.logout();
    await flow.noop();
    await idling;
    return { more: count - prevCount };
}

const STEPS = {
    async day(flow) {
        const told = { ...(await read(flow)), ...(await write(flow)), ...(await wait(flow)) };
        const { uidValidity, highestModseq } = await flow.mailboxOpen('INBOX');
        told.known = [String(uidValidity), String(highestModseq)];
        told.enabled = [...flow.enabled];
        told.compressed = Boolean(flow._inflate);
        return told;
    },
    async again(flow) {
        const [uidValidity, changedSince] = process.argv.slice(3);
        const told = { flags: [], vanished: [] };
        flow.on('flags', event => told.flags.push([...event.flags]));
        flow.on('expunge', event => told.vanished.push(event.uid));
        await flow.mailboxOpen('INBOX', { uidValidity: BigInt(uidValidity), changedSince: BigInt(changedSince) });
        await flow.noop();
        return told;
    },
};

(async () => {
    const flow = client();
    await flow.connect();
    const told = await STEPS[process.argv[2]](flow);
    await flow.logout();
    process.stdout.write(JSON.stringify(told) + '\n');
})().catch(error => {
    console.error(error);
    process.exit(1);
});
