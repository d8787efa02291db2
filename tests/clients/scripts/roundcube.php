<?php
// A person's day with the IMAP library of Roundcube: the account in the environment; prints JSON.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
define('RCUBE_LIBRARY', '/usr/share/roundcube/program/lib/Roundcube/');
foreach (['rcube_charset', 'rcube_mime', 'rcube_message_header', 'rcube_result_index', 'rcube_result_thread',
          'rcube_imap_generic'] as $name) {
    require_once RCUBE_LIBRARY . $name . '.php';
}
require_once RCUBE_LIBRARY . 'bootstrap.php';

$imap = new rcube_imap_generic();
$ssl = ['ssl' => ['cafile' => getenv('CA')]];
$options = ['port' => (int) getenv('PORT'), 'ssl_mode' => 'ssl', 'auth_type' => 'PLAIN', 'timeout' => 30,
            'socket_options' => $ssl, 'ident' => ['name' => 'Roundcube']];
if (!$imap->connect('localhost', getenv('MAIL_USER'), getenv('PASSWORD'), $options)) {
    fwrite(STDERR, $imap->error . "\n");
    exit(1);
}
$told = [];
$told['folders'] = $imap->listMailboxes('', '*', ['SUBSCRIBED', 'SPECIAL-USE']);
$told['status'] = $imap->status('INBOX', ['MESSAGES', 'UNSEEN', 'UIDNEXT']);
$imap->select('INBOX');
$told['threads'] = $imap->thread('INBOX', 'REFERENCES', 'ALL', true, 'UTF-8')->get_tree();
$told['by_subject'] = $imap->sort('INBOX', 'SUBJECT', 'UNDELETED', true, 'UTF-8')->get();
$found = $imap->search('INBOX', 'CHARSET UTF-8 BODY {6}' . "\r\n" . 'needle', true, ['COUNT', 'ALL']);
$told['search'] = $found->get();
$headers = $imap->fetchHeaders('INBOX', '1:*', true, true, ['PRIORITY']);
$told['subjects'] = array_values(array_map(function ($header) { return rcube_mime::decode_header($header->subject); }, $headers));
$first = reset($headers);
$told['structure'] = count($first->bodystructure);
$told['part'] = trim($imap->handlePartBody('INBOX', $first->uid, true, '1'));
$told['flagged'] = $imap->flag('INBOX', '1', 'FLAGGED');
$told['moved'] = $imap->move('2', 'INBOX', 'Archive');
$draft = "Subject: draft\r\n\r\nnot yet\r\n";
$told['draft'] = $imap->append('Drafts', $draft, ['DRAFT', 'SEEN']);
$told['created'] = $imap->createFolder('Projects') && $imap->subscribe('Projects');
$told['copied'] = $imap->copy('1', 'INBOX', 'Projects');
$told['renamed'] = $imap->renameFolder('Projects', 'Done');
$told['deleted'] = $imap->flag('INBOX', '3', 'DELETED') && $imap->expunge('INBOX', '3');
$told['left'] = $imap->countMessages('INBOX');
$told['quota'] = is_array($imap->getQuota('INBOX'));
$told['metadata'] = $imap->getCapability('METADATA')
    ? $imap->setMetadata('INBOX', ['/private/comment' => 'mine']) : null;
$imap->closeConnection();
echo json_encode($told), "\n";
